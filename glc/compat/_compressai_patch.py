# SPDX-License-Identifier: Apache-2.0
"""How `glc.compat.compressai.install` reaches into CompressAI, and out again.

CompressAI binds its coder in three ways, and each is met where it is bound:

* `EntropyModel.compress/decompress` go through an `_EntropyCoder` that holds a coder of its own.
  All four methods are replaced on their classes, which reaches every model and every copy. The
  replaced compress/decompress pass tensors, where the originals make Python lists.
* Modules with autoregressive models hold the names of the coder classes since their import. Each
  such name, in any loaded module, gets a class of ours that knows its format.
* Modules imported later take the names from `compressai.ans`, which counts as such a module.

The objects that models keep stay CompressAI's own, so uninstalling leaves nothing behind.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from glc.compat import compressai as ours
from glc.errors import UnsupportedError

_NAMES = ("RansEncoder", "RansDecoder", "BufferedRansEncoder")


class _Patch:
    """One installation: what to put back, and where."""

    def __init__(self, format: ours.Format) -> None:
        try:
            ans = importlib.import_module("compressai.ans")
            models = importlib.import_module("compressai.entropy_models.entropy_models")
        except ImportError as error:
            raise UnsupportedError(
                f"compressai: install: expected CompressAI to be installed, got: {error}; "
                "pip install compressai"
            ) from error
        except RuntimeError as error:  # such as torchvision's, built for another torch
            raise UnsupportedError(
                f"compressai: install: expected a torchvision built for this torch, got: {error}"
            ) from error
        self.format = format
        self.encoder = ours.RansEncoder(format)
        self.decoder = ours.RansDecoder(format)
        replaced: list[tuple[str, str, Callable[[_Patch, Any], Any]]] = [
            ("_EntropyCoder", "__init__", _init),
            ("_EntropyCoder", "encode_with_indexes", _encode_with_indexes),
            ("_EntropyCoder", "decode_with_indexes", _decode_with_indexes),
            ("EntropyModel", "compress", _compress),
            ("EntropyModel", "decompress", _decompress),
        ]
        try:  # all names are looked up before anything is replaced
            self.originals = {name: getattr(ans, name) for name in _NAMES}
            owners = [getattr(models, owner) for owner, _, _ in replaced]
            self.methods: list[tuple[type, str, Any]] = [
                (owner, name, owner.__dict__[name])
                for owner, (_, name, _) in zip(owners, replaced, strict=True)
            ]
        except (AttributeError, KeyError) as error:
            raise UnsupportedError(
                "compressai: install: expected a CompressAI whose coder is built as in 1.2, got "
                f"one without {error}"
            ) from error
        self.coders = {name: _with_format(getattr(ours, name), format) for name in _NAMES}
        for (owner, name, original), (_, _, make) in zip(self.methods, replaced, strict=True):
            setattr(owner, name, functools.wraps(original)(make(self, original)))
        _rebind({id(self.originals[name]): self.coders[name] for name in _NAMES})

    def undo(self) -> None:
        _rebind({id(self.coders[name]): self.originals[name] for name in _NAMES})
        for owner, name, original in self.methods:
            setattr(owner, name, original)

    def stands_in_for(self, coder: Any) -> bool:
        """Tell whether an _EntropyCoder holds CompressAI's coder, not one put there by others."""
        return type(coder._encoder) is self.originals["RansEncoder"]

    def codes(self, model: Any) -> bool:
        parts = (model._quantized_cdf, model._cdf_length, model._offset)
        ready = [part.dim() for part in parts] == [2, 1, 1] and all(p.numel() for p in parts)
        return ready and self.stands_in_for(model.entropy_coder)


# The replacements. Where an argument is not as it should be, the original knows what to say.


def _init(patch: _Patch, original: Any) -> Any:
    def init(coder: Any, method: str) -> None:
        original(coder, method)
        if type(coder._encoder) is patch.coders["RansEncoder"]:
            coder._encoder = patch.originals["RansEncoder"]()
            coder._decoder = patch.originals["RansDecoder"]()

    return init


def _encode_with_indexes(patch: _Patch, original: Any) -> Any:
    def encode_with_indexes(coder: Any, *args: Any, **kwargs: Any) -> Any:
        if patch.stands_in_for(coder):
            return patch.encoder.encode_with_indexes(*args, **kwargs)
        return original(coder, *args, **kwargs)

    return encode_with_indexes


def _decode_with_indexes(patch: _Patch, original: Any) -> Any:
    def decode_with_indexes(coder: Any, *args: Any, **kwargs: Any) -> Any:
        if patch.stands_in_for(coder):
            return patch.decoder.decode_with_indexes(*args, **kwargs)
        return original(coder, *args, **kwargs)

    return decode_with_indexes


def _compress(patch: _Patch, original: Any) -> Any:
    def compress(model: Any, inputs: Any, indexes: Any, means: Any = None) -> Any:
        if inputs.dim() < 2 or inputs.size() != indexes.size() or not patch.codes(model):
            return original(model, inputs, indexes, means)
        symbols = ours._ints(model.quantize(inputs, "symbols", means), "symbols")
        rows = ours._ints(indexes, "indexes")
        tables = _tables_of(model)
        return [patch.encoder._encode(s, r, tables) for s, r in zip(symbols, rows, strict=True)]

    return compress


def _decompress(patch: _Patch, original: Any) -> Any:
    def decompress(model: Any, strings: Any, indexes: Any, *args: Any, **kwargs: Any) -> Any:
        means = args[1] if len(args) > 1 else kwargs.get("means")
        fits = isinstance(strings, list | tuple) and len(strings) == indexes.size(0)
        if not (fits and indexes.dim() >= 2 and _means_fit(means, indexes) and patch.codes(model)):
            return original(model, strings, indexes, *args, **kwargs)
        rows = ours._ints(indexes, "indexes")
        tables = _tables_of(model)
        cdfs = model._quantized_cdf
        symbols = indexes.new_empty(indexes.size(), dtype=cdfs.dtype, device="cpu")
        for string, r, out in zip(strings, rows, symbols, strict=True):
            patch.decoder._decode(string, r, tables, out.numpy())
        dtype = args[:1] or ((kwargs["dtype"],) if "dtype" in kwargs else ())
        return model.dequantize(symbols.to(cdfs.device), means, *dtype)

    return decompress


_patch: _Patch | None = None


def format_in_force() -> ours.Format | None:
    """Return the format that is installed, if one is."""
    return None if _patch is None else _patch.format


def install(format: ours.Format) -> None:
    """Patch CompressAI, after undoing an earlier patch."""
    global _patch
    uninstall()
    _patch = _Patch(format)


def uninstall() -> None:
    """Undo the patch in force."""
    global _patch
    if _patch is not None:
        _patch.undo()
        _patch = None


def _with_format(cls: type, format: ours.Format) -> type:
    """Make a class that needs no argument, as CompressAI's do; unique to one installation."""

    def init(self: Any) -> None:
        cls.__init__(self, format)  # type: ignore[misc]

    return type(cls.__name__, (cls,), {"__init__": init, "__doc__": cls.__doc__})


def _rebind(replacements: Mapping[int, type]) -> None:
    """Replace classes, given by id, wherever a loaded module holds one as a global."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        if not isinstance(names, dict):
            continue
        for name, value in list(names.items()):
            replacement = replacements.get(id(value))
            if replacement is not None:
                names[name] = replacement


def _tables_of(model: Any) -> ours._Tables:
    return ours._tables(model._quantized_cdf, model._cdf_length, model._offset)


def _means_fit(means: Any, indexes: Any) -> bool:
    """Tell whether CompressAI accepts means: like indexes, or one number for each channel."""
    if means is None or means.size() == indexes.size():
        return True
    same = means.dim() == indexes.dim() and means.size()[:2] == indexes.size()[:2]
    return same and all(n == 1 for n in means.size()[2:])
