# SPDX-License-Identifier: Apache-2.0
"""How `glc.compat.compressai.install` reaches into CompressAI, and out again.

CompressAI binds its coder in three ways, and each is met where it is bound:

* Every entropy model has an `_EntropyCoder` that holds an encoder and a decoder, which some models
  take from there. Both attributes become properties of the class that give ours for CompressAI's
  own, which reaches every model and every copy. `EntropyModel.compress/decompress` are replaced on
  their class: they pass tensors, where the originals make Python lists.
* Modules with autoregressive models hold the names of the coder classes since their import. Each
  such name, in any loaded module, gets a class of ours that knows its format.
* Modules imported later take the names from `compressai.ans`, which counts as such a module.

The objects that models keep stay CompressAI's own, so uninstalling leaves nothing behind.
"""

from __future__ import annotations

import functools
import importlib
import sys
import weakref
from collections.abc import Mapping
from typing import Any

from glc.compat import compressai as ours
from glc.errors import UnsupportedError

_NAMES = ("RansEncoder", "RansDecoder", "BufferedRansEncoder")
_HELD = {"_encoder": "RansEncoder", "_decoder": "RansDecoder"}  # by an _EntropyCoder


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
        replaced = {"compress": _compress, "decompress": _decompress}
        try:  # all names are looked up before anything is replaced
            self.originals = {name: getattr(ans, name) for name in _NAMES}
            self.entropy_model: type = models.EntropyModel
            self.methods = {name: vars(self.entropy_model)[name] for name in replaced}
            self.entropy_coder: type = models._EntropyCoder
            held = vars(self.entropy_coder("ans"))
            self.theirs = {name: type(held[name]) for name in _HELD}
        except (AttributeError, KeyError) as error:
            raise UnsupportedError(
                "compressai: install: expected a CompressAI whose coder is built as in 1.2, got "
                f"one without {error}"
            ) from error
        self.coders = {name: _with_format(getattr(ours, name), format) for name in _NAMES}
        for name, original in self.methods.items():
            replacement = replaced[name](self, original)
            setattr(self.entropy_model, name, functools.wraps(original)(replacement))
        for name, cls in _HELD.items():
            setattr(self.entropy_coder, name, _Held(name, self.theirs, self.coders[cls]))
        _rebind({id(self.originals[name]): self.coders[name] for name in _NAMES})

    def undo(self) -> None:
        _rebind({id(self.coders[name]): self.originals[name] for name in _NAMES})
        for name, original in self.methods.items():
            setattr(self.entropy_model, name, original)
        for name in _HELD:
            delattr(self.entropy_coder, name)

    def codes(self, model: Any) -> bool:
        """Tell whether a model is ready to code, and not by a coder put there by others."""
        parts = (model._quantized_cdf, model._cdf_length, model._offset)
        ready = [part.dim() for part in parts] == [2, 1, 1] and all(p.numel() for p in parts)
        coder = model.entropy_coder
        return ready and type(coder) is self.entropy_coder and _holds(coder, self.theirs)


class _Held:
    """An attribute of `_EntropyCoder` that reads as ours where CompressAI's own are held."""

    def __init__(self, name: str, theirs: Mapping[str, type], stand_in: type) -> None:
        self._name, self._theirs, self._stand_in = name, theirs, stand_in
        # one for each, since a decoder knows how far it has come in its stream
        self._stand_ins: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def __get__(self, coder: Any, owner: type | None = None) -> Any:
        if coder is None:
            return self
        if _holds(coder, self._theirs):
            return self._stand_ins.setdefault(coder, self._stand_in())
        try:
            return vars(coder)[self._name]
        except KeyError:
            raise AttributeError(self._name, name=self._name, obj=coder) from None

    def __set__(self, coder: Any, held: Any) -> None:
        own = type(held) is self._stand_in
        vars(coder)[self._name] = self._theirs[self._name]() if own else held


def _holds(coder: Any, types: Mapping[str, type]) -> bool:
    """Tell whether all that is held is of these types: streams of one coder are for its decoder."""
    return all(type(vars(coder).get(name)) is cls for name, cls in types.items())


# The replacements. Where an argument is not as it should be, the original knows what to say.


def _compress(patch: _Patch, original: Any) -> Any:
    def compress(model: Any, inputs: Any, indexes: Any, means: Any = None) -> Any:
        fits = inputs.dim() >= 2 and inputs.size() == indexes.size()
        if not (fits and patch.codes(model)):
            return original(model, inputs, indexes, means)
        symbols = ours._ints(model.quantize(inputs, "symbols", means).int(), "symbols")
        rows = ours._ints(indexes.int(), "indexes")
        tables = _tables_of(model)
        return [patch.encoder._encode(s, r, tables) for s, r in zip(symbols, rows, strict=True)]

    return compress


def _decompress(patch: _Patch, original: Any) -> Any:
    import torch

    def decompress(
        model: Any, strings: Any, indexes: Any, dtype: Any = torch.float, means: Any = None
    ) -> Any:
        fits = isinstance(strings, list | tuple) and len(strings) == indexes.size(0)
        fits = fits and indexes.dim() >= 2 and _means_fit(means, indexes)
        if not (fits and patch.codes(model)):
            return original(model, strings, indexes, dtype, means)
        rows = ours._ints(indexes.int(), "indexes")
        tables = _tables_of(model)
        cdfs = model._quantized_cdf
        symbols = indexes.new_empty(indexes.size(), dtype=cdfs.dtype, device="cpu")
        for string, r, out in zip(strings, rows, symbols, strict=True):
            patch.decoder._decode(string, r, tables, out.numpy())
        return model.dequantize(symbols.to(cdfs.device), means, dtype)

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
