# SPDX-License-Identifier: Apache-2.0
"""The authors' checkpoint layout (facts C): 792 tensors, loaded strictly."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.files import LOAD_ERRORS, load_complaint
from glc.models.config import GLC_IMAGE
from glc.models.glc import GLC
from glc.models.predictor import CodePredictor

WRAPPERS = ("state_dict", "net", "net_g")  # unwrapped in this order, each only if present

# Authors' prefix -> ours; the longest match wins.
PREFIXES = {
    "vqgan.encoder.": "latent_encoder.",
    "vqgan.generator.": "latent_decoder.",
    "vqgan.quantize.embedding.weight": "image_vq.codebook",
    "z_vq.embedding.weight": "hyper_vq.codebook",
    "q_enc": "g_a.q",
    "q_dec": "g_s.q",
    "enc.enc_1.": "g_a.first.",
    "enc.enc_2.": "g_a.second.",
    "dec.dec_1.": "g_s.first.",
    "dec.dec_2.": "g_s.second.",
    "hyper_enc.": "h_a.layers.",
    "hyper_dec.": "h_s.layers.",
    "y_prior_fusion.": "context.fusion.",
    "y_spatial_prior_reduction.": "context.reduction.",
    "y_spatial_prior_adaptor_1.": "context.adaptors.0.",
    "y_spatial_prior_adaptor_2.": "context.adaptors.1.",
    "y_spatial_prior_adaptor_3.": "context.adaptors.2.",
    "y_spatial_prior.": "context.prior.",
    "code_pred_loss.": "code_predictor.",
    "code_pred_pix_loss.": "pixel_code_predictor.",
}


def load_official(source: str | os.PathLike[str] | Mapping[str, Any]) -> GLC:
    """Build the GLC-image model from the authors' checkpoint.

    Args:
        source: path of a checkpoint, read with `weights_only=True`, or a state dict. A state
            dict may be wrapped under "state_dict", "net" and "net_g", in this order, and its
            keys may start with "module.".

    Returns:
        The model in evaluation mode, float32, on the CPU. The code predictors are checked and
        left out; `load_official_predictors` returns them.

    Raises:
        InvalidArgumentError: not a checkpoint, or a key missing, unknown, of another shape or
            without values.
    """
    return cast(GLC, _load(source)[0])


def load_official_predictors(
    source: str | os.PathLike[str] | Mapping[str, Any],
) -> tuple[CodePredictor, CodePredictor]:
    """The latent and the pixel code predictor of the authors' checkpoint (facts G).

    Args and errors are those of `load_official`.
    """
    _, latent, pixel = _load(source)
    return cast(CodePredictor, latent), cast(CodePredictor, pixel)


def official_layout() -> dict[str, tuple[int, ...]]:
    """Every key of the authors' state dict with its shape (792 tensors)."""
    with torch.device("meta"):
        modules = _modules()
    return {
        renamed(f"{prefix}{name}", _TO_OFFICIAL): tuple(tensor.shape)
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
        # ours; their prior is uniform, and their encoder without bounds
        if not name.startswith(("z_prior.", "latent_range."))
    }


_TO_OFFICIAL = {ours: theirs for theirs, ours in PREFIXES.items()}


def _modules() -> dict[str, GLC | CodePredictor]:
    """The checkpoint's three modules, by the prefix that their keys carry here."""
    predictor = GLC_IMAGE.predictor
    size, width = GLC_IMAGE.codebook_size, GLC_IMAGE.l_channels
    return {
        "": GLC(GLC_IMAGE),
        "code_predictor.": CodePredictor(predictor, width, size),
        "pixel_code_predictor.": CodePredictor(predictor, width, size),
    }


def _load(source: str | os.PathLike[str] | Mapping[str, Any]) -> list[GLC | CodePredictor]:
    state = read_state("load_official", source, WRAPPERS)
    check_layout("load_official", state, official_layout())
    ours = {renamed(key, PREFIXES): tensor for key, tensor in state.items()}
    with torch.device("cpu"):  # whatever torch's default is
        modules = {prefix: module.float() for prefix, module in _modules().items()}
    for prefix, module in modules.items():
        others = [p for p in modules if p and p != prefix]
        module.load_state_dict(
            {
                key.removeprefix(prefix): tensor
                for key, tensor in ours.items()
                if key.startswith(prefix) and not any(key.startswith(p) for p in others)
            },
            strict=True,
        )
    return [module.eval() for module in modules.values()]


def read_state(
    op: str, source: str | os.PathLike[str] | Mapping[str, Any], wrappers: Sequence[str]
) -> dict[str, Tensor]:
    """Tensors by name from a checkpoint, or a state dict.

    Args:
        op: the loader, for messages.
        source: as for `load_official`.
        wrappers: keys that the tensors may lie under, in this order, each only if present.

    Raises:
        InvalidArgumentError: there are none.
    """
    state: Any = source
    if not isinstance(source, Mapping):
        try:
            state = torch.load(source, map_location="cpu", weights_only=True)
        except LOAD_ERRORS as error:
            raise InvalidArgumentError(
                f"{op}: source: expected a checkpoint of tensors, got {source}: "
                f"{load_complaint(error)}"
            ) from error
    for wrapper in wrappers:
        if isinstance(state, Mapping) and wrapper in state:
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(t, Tensor) for key, t in state.items()
    ):
        raise InvalidArgumentError(
            f"{op}: source: expected a mapping from names to tensors, bare or under "
            f"{', '.join(wrappers)}; got {type(state).__name__} with other content"
        )
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}


def check_layout(
    op: str, state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a state dict that has not just the expected keys and shapes, and values of all."""
    missing = sorted(expected.keys() - state.keys())
    unknown = sorted(state.keys() - expected.keys())
    wrong = sorted(
        f"{key} {tuple(state[key].shape)} instead of {expected[key]}"
        for key in expected.keys() & state.keys()
        if tuple(state[key].shape) != expected[key]
    )
    empty = sorted(key for key, tensor in state.items() if tensor.is_meta)
    kinds = {
        "missing": missing,
        "unknown": unknown,
        "of another shape": wrong,
        "on the meta device, without values": empty,
    }
    for what, names in kinds.items():
        if names:
            raise InvalidArgumentError(
                f"{op}: state dict: expected the authors' {len(expected)} tensors, "
                f"got {len(names)} {what}: {', '.join(names[:3])}"
            )


def renamed(key: str, prefixes: Mapping[str, str]) -> str:
    """Replace the longest matching prefix; a key without one keeps its name."""
    best = max((p for p in prefixes if key.startswith(p)), key=len, default="")
    return prefixes.get(best, "") + key.removeprefix(best)
