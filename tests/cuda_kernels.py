# SPDX-License-Identifier: Apache-2.0
"""Where tests run the CUDA kernels: on a device, or the same kernels emulated on the CPU.

"emulated" needs a native module that was built with GLC_CUDA_EMULATION=ON, whose kernels take CPU
tensors; `.ci/run emulated` builds one and runs all tests of that name.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from glc.ops import _cuda

ON_DEVICE = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(_cuda.KERNELS != "cuda", reason="needs a build with CUDA"),
]
EMULATED = [pytest.mark.skipif(_cuda.KERNELS != "cpu", reason="needs GLC_CUDA_EMULATION")]
WHERE = [pytest.param("cuda", marks=ON_DEVICE), pytest.param("emulated", marks=EMULATED)]


@contextlib.contextmanager
def as_on_a_device() -> Iterator[None]:
    """Let CPU tensors go the way of a device's: torch's operators, and kernels where emulated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cuda, "is_cuda", lambda x: True)
        if _cuda.KERNELS == "cuda":
            patch.setattr(_cuda, "KERNELS", None)
        yield


class Kernels:
    """Runs functions of tensors by the CUDA kernels."""

    def __init__(self, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.device = "cpu" if where == "emulated" else where
        self._emulated = where == "emulated"
        self._monkeypatch = monkeypatch

    def __call__(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Copy the tensors among the arguments there, and those of the result back."""
        args, options = tree_map_only(Tensor, self._there, (args, options))
        with self._monkeypatch.context() as patch:
            if self._emulated:
                patch.setattr(_cuda, "is_cuda", lambda x: True)
            result = function(*args, **options)
        return tree_map_only(Tensor, lambda x: x.detach().cpu(), result)

    def _there(self, x: Tensor) -> Tensor:
        return x.detach().clone().to(self.device)


@pytest.fixture(params=WHERE)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """The CUDA kernels, wherever there are some."""
    return Kernels(request.param, monkeypatch)
