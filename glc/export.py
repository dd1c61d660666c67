# SPDX-License-Identifier: Apache-2.0
"""A model as one file, for codecs without Python: `glc/codec.h`, `glc/codec_c.h`.

The file is in the safetensors format, so that any tool for that shows what is in it: the weights
that coding takes, the tables of the symbols, and in its metadata the layout, the fingerprint and
a checksum. docs/format.md specifies it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from glc import _core
from glc.cdf import canonical
from glc.portable.weights import layout_fields

if TYPE_CHECKING:
    from glc.portable import Weights

__all__ = ["FORMAT", "exported"]

FORMAT = 1

_LENGTH_BYTES = 8  # of the header, in front of it
_ALIGNMENT = 8  # of the data behind it

_DECODED_WITH = ("hyper_vq.codebook", "z_prior.", "h_s.", "context.", "g_s.", "latent_decoder.")
_ENCODED_WITH = ("latent_encoder.", "g_a.", "h_a.", "latent_range.")


def exported(weights: Weights, *, encoder: bool = False) -> bytes:
    """Make the file that native decoders, and encoders, read.

    Args:
        weights: of a whole model that draws by exact layers.
        encoder: also what encoding takes.

    Returns:
        The file. Weights that float16 holds exactly, as those of the bundled model, are stored so.
    """
    wanted = _DECODED_WITH + (_ENCODED_WITH if encoder else ("latent_range.l_hat",))
    tensors = {k: _narrow(x) for k, x in weights.tensors.items() if k.startswith(wanted)}
    tables, bounds = canonical()
    freqs, n_bins, offsets = tables.arrays()
    tensors |= {
        "tables.freqs": np.asarray(freqs, np.int32),
        "tables.n_bins": np.asarray(n_bins, np.int32),
        "tables.offsets": np.asarray(offsets, np.int32),
        "tables.bounds": np.array(bounds),
    }
    metadata = {"format": str(FORMAT), "fingerprint": weights.fingerprint.hex()}
    for name, numbers in layout_fields(weights.config).items():
        metadata[f"config.{name}"] = ",".join(map(str, numbers))
    return _with_metadata(save(tensors), metadata)


def _narrow(tensor: NDArray[np.float32]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        half = tensor.astype(np.float16)
    return half if np.array_equal(half, tensor) else np.ascontiguousarray(tensor)


def _with_metadata(file: bytes, metadata: dict[str, str]) -> bytes:
    """Add metadata and a checksum; safetensors itself would write them in any order."""
    end = _LENGTH_BYTES + int.from_bytes(file[:_LENGTH_BYTES], "little")
    tensors, data = json.loads(file[_LENGTH_BYTES:end]), file[end:]
    metadata["crc32c"] = f"{_core.crc32c(data):08x}"
    text = json.dumps({"__metadata__": metadata, **tensors}, separators=(",", ":"))
    header = text.encode() + b" " * (-len(text) % _ALIGNMENT)
    return len(header).to_bytes(_LENGTH_BYTES, "little") + header + data
