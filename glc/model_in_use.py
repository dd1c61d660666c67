# SPDX-License-Identifier: Apache-2.0
"""A model in memory as a codec uses it: checked, its weights copied, and watched for changes."""

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from glc.errors import InvalidArgumentError
from glc.models.blocks import conv_weights
from glc.models.glc import GLC
from glc.ops import _cuda
from glc.portable import EntropyCore, PortableNetworks, Weights
from glc.portable.weights import draws_by_exact_layers
from glc.strips import PictureNetworks
from glc.torch_networks import Networks

__all__ = [
    "WeightsInUse",
    "checked_device",
    "checked_model",
    "coding_networks",
    "model_of",
    "picture_networks",
]

# the tensors, and the modules that their networks are of
_ENTROPY_PATH = ("hyper_vq.codebook", "z_prior.", "h_s.", "context.", "latent_range.")
_ENTROPY_MODULES = ("z_prior.", "h_s.", "context.")
_PICTURE_NETWORKS = ("latent_encoder.", "g_a.", "h_a.", "g_s.", "latent_decoder.")
_PICTURE_MODULES = (*_PICTURE_NETWORKS, "latent_range.", "hyper_vq.")
_ENTROPY_METHODS = (
    *("entropy_params", "split_params", "part_params", "exact_params"),
    "hyper_vq.lookup",
)
_PICTURE_METHODS = ("latents", "analysis", "features", "hyper_index", "synthesis", "reconstruct")
_PARAMETRIZED = ".parametrizations"  # in the names of what torch makes a weight of
# what a module's forward pass goes by, beside its weights and the modules in it
_GOES_BY = (
    *("stride", "padding", "padding_mode", "dilation", "groups"),
    *("negative_slope", "upscale_factor", "downscale_factor", "normalize", "levels"),
)


def checked_model(model: GLC) -> GLC:
    """Take a model of float32 weights; any other, or none yet, raises InvalidArgumentError.

    Its fingerprint is of float32, and so are the maps that its networks are given.
    """
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if tensor.is_meta or (tensor.is_floating_point() and tensor.dtype != torch.float32):
            got = "no values" if tensor.is_meta else str(tensor.dtype)
            advice = "load its weights" if tensor.is_meta else "model.float() makes them so"
            raise InvalidArgumentError(
                f"codec: model: expected torch.float32 weights, got {got} in {name}; {advice}"
            )
    return model


def checked_device(name: str | torch.device) -> torch.device:
    """Find a device; one that torch cannot compute on here raises InvalidArgumentError."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()
    except (TypeError, RuntimeError, AssertionError) as error:  # a missing backend asserts
        raise InvalidArgumentError(
            f"codec: device: expected a device torch can use here, got {name!r}"
        ) from error
    return device


def coding_networks(model: GLC) -> EntropyCore:
    """Copy what coding on the CPU needs of a model.

    Returns:
        `PortableNetworks` where nothing about the model's picture networks is out of the ordinary;
        of others the entropy path alone.

    Raises:
        InvalidArgumentError: the entropy path's weights are not what `conv_weights` takes, or it
            computes what its configuration does not say.
    """
    tensors = _tensors(model, _ENTROPY_PATH)
    entropy = Weights(model.config, tensors, model.fingerprint())
    with torch.device("meta"):
        plain = GLC(model.config)
    if unlike := _unlike(model, plain, _ENTROPY_METHODS, _ENTROPY_MODULES):
        raise InvalidArgumentError(
            f"codec: model: expected {unlike} as the configuration makes it, without hooks: "
            "symbols follow from configuration and weights alone"
        )
    unlike = _unlike(model, plain, _PICTURE_METHODS, _PICTURE_MODULES)
    if draws_by_exact_layers(model.config) and type(model) is GLC and not unlike:
        try:
            tensors |= _tensors(model, _PICTURE_NETWORKS)
            return PortableNetworks(Weights(model.config, tensors, entropy.fingerprint))
        except InvalidArgumentError:  # adapters, or other widths than the configuration's
            pass
    return EntropyCore(entropy)


def picture_networks(
    model: GLC, coder: EntropyCore, picture_dtype: torch.dtype | None = None
) -> PictureNetworks:
    """Choose what runs a model's picture networks where the model is.

    Args:
        model: in evaluation mode.
        coder: its `coding_networks`, which on the CPU are taken where they have them all.
        picture_dtype: in which pictures are drawn; see `Codec`.
    """
    on_cpu = model.g_a.q.is_cpu and not _cuda.takes(model.g_a.q)
    if isinstance(coder, PortableNetworks) and on_cpu and picture_dtype in (None, torch.float32):
        return coder
    return Networks(model, picture_dtype=picture_dtype)


def model_of(weights: Weights) -> GLC:
    """Make the model, in evaluation mode, whose weights were read without torch."""
    with torch.device("cpu"):
        model = GLC(weights.config).float()  # whatever torch's default dtype and device are
    # copies: what is done to the model must not reach the codec's own
    model.load_state_dict({name: torch.tensor(x) for name, x in weights.tensors.items()})
    return model.eval()


def _tensors(model: GLC, prefixes: tuple[str, ...]) -> dict[str, Any]:
    """Copies of the parameters and buffers below some modules, by name; shared ones by each."""
    found: dict[str, torch.Tensor | None] = {}  # a convolution may have no bias
    for name, module in model.named_modules(remove_duplicate=False):
        if name.startswith(prefixes) and _PARAMETRIZED not in name and hasattr(module, "weight"):
            found[f"{name}.weight"], found[f"{name}.bias"] = conv_weights(module)
    parameters = model.named_parameters(remove_duplicate=False)
    for name, tensor in chain(parameters, model.named_buffers(remove_duplicate=False)):
        found.setdefault(name, tensor)
    return {
        name: tensor.detach().cpu().numpy().copy()
        for name, tensor in found.items()
        if name.startswith(prefixes) and _PARAMETRIZED not in name and tensor is not None
    }


def _unlike(model: GLC, plain: GLC, methods: tuple[str, ...], below: tuple[str, ...]) -> str | None:
    """Name what of a model does not compute as in a plain one of its configuration, if anything."""
    for name in methods:
        ours, theirs = (attrgetter(name)(each) for each in (plain, model))
        if getattr(theirs, "__func__", None) is not ours.__func__:
            return name
    found, made = (
        {
            name: module
            for name, module in each.named_modules(remove_duplicate=False)
            if f"{name}.".startswith(below) and _PARAMETRIZED not in name
        }
        for each in (model, plain)
    )
    in_both = found.keys() & made.keys()
    others = {name for name in in_both if not _is_alike(found[name], made[name])}
    return min(others | (found.keys() ^ made.keys()), default=None)


def _is_alike(module: nn.Module, plain: nn.Module) -> bool:
    kind = parametrize.type_before_parametrizations(module)
    replaced = (
        name
        for name in vars(module).keys() & set(dir(kind))
        if callable(method := getattr(kind, name)) and method is not getattr(nn.Module, name, None)
    )
    return (
        kind is type(plain)
        and not (module._forward_hooks or module._forward_pre_hooks)
        and all(getattr(module, name, None) == getattr(plain, name, None) for name in _GOES_BY)
        and not any(replaced)
    )


class WeightsInUse:
    """Notices when a model's weights are replaced, or written to where autograd can see it.

    Asked at every file, so the places of weights are listed once: walking through a model takes
    longer than reading a file's symbols. Of networks that are copies it also notices hooks, which
    those would never call.
    """

    def __init__(self, model: GLC, *, copied: bool) -> None:
        modules = tuple(model.modules())
        watched = modules if copied else ()
        self._hooks = [h for m in watched for h in (m._forward_hooks, m._forward_pre_hooks)]
        both = (held for module in modules for held in (module._parameters, module._buffers))
        self._children = [module._modules for module in modules if module._modules]
        self._tensors: list[Any] = [held for held in both if held]
        self._state = self._found()

    def changed(self) -> bool:
        """Whether they have changed since this was made."""
        return self._found() != self._state

    def _found(self) -> list[Any]:
        children: list[Any] = [*chain.from_iterable(map(dict.values, self._children))]
        held: Iterable[torch.Tensor | None] = chain.from_iterable(map(dict.values, self._tensors))
        tensors = [tensor for tensor in held if tensor is not None]
        addresses = map(torch.Tensor.data_ptr, tensors)
        try:
            versions = [*map(_version, tensors)]
        except RuntimeError:  # inference tensors have none
            versions = [0 if x.is_inference() else x._version for x in tensors]
        hooks = map(len, self._hooks)
        return [*children, *addresses, *versions, *hooks]  # modules compare by identity


_version = attrgetter("_version")
