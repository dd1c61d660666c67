# SPDX-License-Identifier: Apache-2.0
"""An install that cannot be made changes nothing."""

import importlib

import pytest

from benchmarks.compressai_import import import_compressai
from glc.compat import compressai as ours
from glc.errors import UnsupportedError
from tests.compat.coder_bindings import ENTROPY_MODELS, coder_bindings

if import_compressai() is None:
    pytest.skip("compressai is not installed", allow_module_level=True)


@pytest.mark.parametrize("name", ["_EntropyCoder", "EntropyModel"])
def test_another_compressai_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = coder_bindings()
    entropy_models = importlib.import_module(ENTROPY_MODELS)
    owner = getattr(entropy_models, name)
    with monkeypatch.context() as patch:
        patch.delattr(entropy_models, name)
        with pytest.raises(UnsupportedError, match=name):
            ours.install("glc")
    assert coder_bindings() == before
    with monkeypatch.context() as patch:
        if name == "_EntropyCoder":
            missing = "_encoder"
            patch.setattr(owner, "__init__", lambda coder, method: None)
        else:
            missing = "compress"
            patch.delattr(owner, missing)
        with pytest.raises(UnsupportedError, match=missing):
            ours.install("glc")
    assert coder_bindings() == before
