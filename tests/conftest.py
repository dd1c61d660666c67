# SPDX-License-Identifier: Apache-2.0
"""Pictures and models that several test folders share."""

import os
from pathlib import Path

import numpy as np
import pytest

# Read when torch is first imported: on a busy machine its threads must sleep, not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of development data (photos, golden cases); tests that need it skip without it."""
    folder = Path(os.environ.get("GLC_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no development data: set GLC_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def sample_path() -> Path:
    """The bundled sample photograph."""
    return ROOT / "examples" / "images" / "kodim23.png"


@pytest.fixture(scope="session")
def photo(sample_path: Path) -> np.ndarray:
    """A 150x200 cut of the sample photograph, [h, w, 3] uint8."""
    from glc.image import load_image

    return np.ascontiguousarray(load_image(sample_path)[100:250, 300:500])


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of a few thousand random weights, whose symbols are lively enough to test."""
    return _save_tiny(tmp_path_factory, seed=1)


@pytest.fixture(scope="session")
def other_tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same layout with other weights."""
    return _save_tiny(tmp_path_factory, seed=2)


def _save_tiny(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    import torch

    from glc.models.config import preset
    from glc.models.glc import GLC

    torch.manual_seed(seed)
    model = GLC(preset("glc-tiny"))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.startswith(("g_a.", "context.")) and tensor.dim() == 4:
                tensor.mul_(1.5)
        model.g_a.q.copy_(torch.linspace(0.5, 4.0, 4).reshape(4, 1, 1, 1).expand_as(model.g_a.q))
    folder = tmp_path_factory.mktemp(f"tiny{seed}")
    model.save_pretrained(folder)
    return folder
