# SPDX-License-Identifier: Apache-2.0
"""A model's weights as numpy's arrays: from its folder without torch, or from a model in memory."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glc.cdf import canonical
from glc.models.config import GLCConfig, LightConfig
from glc.models.pretrained import not_a_model, read_layout
from glc.portable.map_range import UNBOUNDED, MapRange, range_shapes

__all__ = [
    "ARITHMETIC_PROFILE",
    "CODED_MODULES",
    "Weights",
    "draws_by_exact_layers",
    "fingerprint",
    "layout_fields",
]

ARITHMETIC_PROFILE = 1  # exact layers (glc.ops.exact): the same symbols on every machine
CODED_MODULES = ("hyper_vq.", "z_prior.", "h_s.", "context.", "g_s.")
CODED_CONFIG = {
    *("latent_channels", "l_channels", "transform_blocks", "gated_transforms", "levels"),
    *("hyper_codebook_size", "hyper_channels", "fusion_widths"),
    *("prior_channels", "prior_depth", "adaptor_blocks"),
}

_LAYOUT = (
    *("l_channels", "latent_channels", "transform_blocks", "hyper_codebook_size"),
    *("hyper_channels", "normalize_z", "fusion_widths", "prior_channels", "prior_depth"),
    *("adaptor_blocks", "levels", "pad_multiple"),
)
_MOST = 1 << 62  # more than any model has, and not more than the core counts with

_Array = NDArray[np.float32]


def fingerprint(config: GLCConfig, tensors: Mapping[str, _Array]) -> bytes:
    """SHA-256 over everything a file's symbols and y_hat depend on; see `GLC.fingerprint`.

    Args:
        config: of the model.
        tensors: its state; modules that are not covered may be left out.
    """
    digest = hashlib.sha256()
    coded = {k: v for k, v in config.to_dict().items() if k in CODED_CONFIG}
    digest.update(json.dumps(coded, sort_keys=True).encode())
    digest.update(f"profile {ARITHMETIC_PROFILE}".encode())
    digest.update(canonical()[0].digest)
    for name, array in sorted(tensors.items()):
        if name.startswith(CODED_MODULES):
            digest.update(f"{name} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.digest()


def draws_by_exact_layers(config: GLCConfig) -> bool:
    """Whether `PortableNetworks` has all that a layout asks for."""
    return isinstance(config.autoencoder, LightConfig) and not config.gated_transforms


def layout_fields(config: GLCConfig) -> dict[str, list[int]]:
    """The numbers of a layout, by the names that the native core knows them by."""
    fields: dict[str, Any] = {name: getattr(config, name) for name in _LAYOUT}
    if isinstance(config.autoencoder, LightConfig):
        nested = dataclasses.asdict(config.autoencoder)
        fields |= {f"autoencoder.{name}": value for name, value in nested.items()}
    several = {name: x if isinstance(x, tuple) else (x,) for name, x in fields.items()}
    return {name: [min(int(x), _MOST) for x in numbers] for name, numbers in several.items()}


class Weights:
    """A model: its layout, and its state by the names of `GLC.state_dict`.

    Attributes:
        config: the layout.
        tensors: float32.
    """

    def __init__(
        self, config: GLCConfig, tensors: Mapping[str, _Array], fingerprint: bytes | None = None
    ) -> None:
        """Take a model's weights.

        Args:
            config: the layout.
            tensors: float32.
            fingerprint: that of the model; None finds it, for which g_s has to be there.
        """
        self.config = config
        self.tensors = dict(tensors)
        self._fingerprint = fingerprint

    @classmethod
    def read(cls, folder: Path) -> Weights | None:
        """Read what `save_pretrained` wrote of a model that draws by exact layers.

        Returns:
            The model; None if it is of another kind, or its numbers are of a kind that numpy has
            not, and the folder is for `GLC.from_pretrained`.

        Raises:
            InvalidArgumentError: the folder holds no model; one of other tensors than its
                configuration says is found out by the networks that read it.
        """
        from safetensors import SafetensorError

        try:
            config, files = read_layout(folder)
            if not draws_by_exact_layers(config):
                return None
            tensors: dict[str, _Array] = {}
            for stored in map(_numbers, files):
                if stored is None:
                    return None
                tensors |= stored
            # which coding has no use for, and so no network reads
            if tensors["image_vq.codebook"].shape != (config.codebook_size, config.l_channels):
                raise ValueError("image_vq.codebook is of another shape")
            return cls(config, {**_later(config), **tensors})
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise not_a_model(folder, error) from error

    @cached_property
    def fingerprint(self) -> bytes:
        """Of the model."""
        return self._fingerprint or fingerprint(self.config, self.tensors)

    @property
    def prior(self) -> _Array:
        """Logits of the hyper indices, [levels, k]."""
        return self.tensors["z_prior.logits"]

    @cached_property
    def map_range(self) -> MapRange:
        """Between which values the maps lie on photographs."""
        names = range_shapes(self.config)
        return MapRange({name: self.tensors[f"latent_range.{name}"] for name in names})


def _numbers(weights_file: Path) -> dict[str, _Array] | None:
    """What is stored; None if not all of it is of a kind whose float32 is the same here as torch's.

    Raises:
        OSError, SafetensorError: there is no such file, or it is damaged.
    """
    from safetensors.numpy import load_file

    try:
        tensors = load_file(weights_file)
    except (AttributeError, KeyError, TypeError):  # of a name that numpy does not know
        return None
    if any(array.dtype not in (np.float32, np.float16) for array in tensors.values()):
        return None
    return {name: np.asarray(array, np.float32) for name, array in tensors.items()}


def _later(config: GLCConfig) -> dict[str, _Array]:
    """What models from before they had it are taken to hold.

    Views of a few numbers: of these shapes, only those of tensors that are stored can be trusted.
    """
    no_bounds = np.array([[-UNBOUNDED], [UNBOUNDED]], np.float32)
    later = {
        f"latent_range.{name}": np.broadcast_to(no_bounds, shape)
        for name, shape in range_shapes(config).items()
    }
    no_prior = np.broadcast_to(np.float32(0), (config.levels, config.hyper_codebook_size))
    return {**later, "z_prior.logits": no_prior}
