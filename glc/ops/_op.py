# SPDX-License-Identifier: Apache-2.0
"""The shape every op in `glc.ops` shares: one callable with its honest reference beside it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils.dlpack import to_dlpack

from glc import _core
from glc.errors import InvalidArgumentError

# One team of threads in the process: torch's wait actively after each op, in the way of others.
_core.join_openmp()

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class Op(Generic[_Params, _Result]):
    """A callable op with its float64 `reference` and its unregistered `plain` form.

    Calling an op that training uses goes through `torch.library`, so that it survives
    `torch.compile`, fake tensors and autograd; those for coding alone (`exact_*`) break a graph.
    `plain` computes the same on real tensors without the dispatcher's overhead, and without loading
    torch's compiler, which the first registered call does (two seconds): it is what the codec
    calls, and takes the dtype that native code takes. `reference` is slow, obvious torch code in
    float64.

    Args:
        call: the documented function, whose name is the op's, an underscore before it or none.
        reference: same signature; float64 arithmetic, any device.
        plain: same signature; no autograd, no tracing.
    """

    def __init__(
        self,
        call: Callable[_Params, _Result],
        *,
        reference: Callable[..., _Result],
        plain: Callable[_Params, _Result],
    ) -> None:
        functools.update_wrapper(self, call)
        self.__name__ = self.__qualname__ = call.__name__.lstrip("_")
        self._call = call
        self.reference = reference
        self.plain = plain

    def __call__(self, *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        return self._call(*args, **kwargs)

    def __repr__(self) -> str:
        """The op and its arguments, which `help` has nowhere else to show."""
        signature = inspect.signature(self._call)
        names = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        return f"<op {self.__name__}{inspect.Signature(names)}>"

    def __reduce__(self) -> str:
        """Pickle and copy by name, as a function, so that modules may hold ops."""
        return self.__name__


def is_transformed() -> bool:
    """Whether a transform of `torch.func` is at work: `grad`, `vmap`, `jvp`, or made of those.

    They refuse a registered op that has gradients, and `jvp` takes it for a constant. So ops that
    are trained through compute by formulas there, in torch and float32, whose values agree with the
    kernels' but for rounding. Where a gradient passes straight through there is no forward mode:
    torch says so.
    """
    return torch._C._are_functorch_transforms_active()


def is_batched(*tensors: Tensor | None) -> bool:
    """Whether one is a batch inside `vmap`, or of gradients: native code cannot see its memory."""
    return any(
        torch._C._functorch.is_batchedtensor(t) or torch._C._functorch.is_legacy_batchedtensor(t)
        for t in tensors
        if t is not None
    )


def is_registered_for(*grads: Tensor | None) -> bool:
    """Whether a backward pass has to call registered ops.

    They refuse second derivatives, where those are asked for, and take batches apart.
    """
    return torch.is_grad_enabled() or is_batched(*grads)


def is_traced(*tensors: Tensor | None) -> bool:
    """Whether anything but torch's eager autograd looks on, so that an op has to be registered.

    A registered op takes torch some twenty microseconds in each direction; a plain
    `autograd.Function` a third. So ops that are trained through call the latter where nothing can
    tell the difference: no compiler or export, no dispatch mode, no subclass of tensors, and no
    transform of `torch.func` where `is_transformed` was not asked before.
    """
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
        or any(type(t) not in (Tensor, Parameter) for t in tensors if t is not None)
    )


def is_recomputed() -> bool:
    """Whether a backward pass makes a forward pass again, as gradient checkpointing does."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def require_no_gradients(op: str, given: Iterable[object], instead: str) -> None:
    """Refuse tensors that want gradients, where an op has none.

    Args:
        op: name for the message.
        given: its arguments; what is no tensor is passed over.
        instead: what to do.

    Raises:
        InvalidArgumentError: one requires a gradient, and gradients are on.
    """
    if torch.is_grad_enabled() and any(getattr(t, "requires_grad", False) for t in given):
        raise InvalidArgumentError(
            f"{op}: gradients: expected none, got tensors that require them; {instead}"
        )


def _require_same(
    op: str, what: str, of: Callable[[Tensor], object], tensors: Mapping[str, Tensor]
) -> None:
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if of(tensor) != of(reference):
            raise InvalidArgumentError(
                f"{op}: {name}: expected the {what} of {first}, {of(reference)}, got {of(tensor)}"
            )


def require_same_shape(op: str, **tensors: Tensor) -> None:
    """Refuse tensors whose shapes differ from the first one's.

    Args:
        op: name for the message.
        tensors: argument names and values.

    Raises:
        InvalidArgumentError: naming the first argument of another shape.
    """
    _require_same(op, "shape", lambda t: tuple(t.shape), tensors)


def require_same_device(op: str, **tensors: Tensor) -> None:
    """Refuse tensors on another device than the first one's; as `require_same_shape`."""
    _require_same(op, "device", lambda t: t.device, tensors)


def require_alike(op: str, **tensors: Tensor) -> None:
    """Refuse tensors that differ in shape or device from the first, or are not floating point.

    Args:
        op: name for the message.
        tensors: argument names and values.

    Raises:
        InvalidArgumentError: naming the first argument that is not like the others.
    """
    first = next(iter(tensors.values()))
    shape, device = first.shape, first.device
    for tensor in tensors.values():
        if tensor.shape != shape or tensor.device != device or not tensor.is_floating_point():
            break
    else:  # as nearly always: what follows takes several times as long
        return
    require_same_shape(op, **tensors)
    require_same_device(op, **tensors)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise InvalidArgumentError(
                f"{op}: {name}: expected a floating-point dtype, got {tensor.dtype}"
            )


_NO_DISPATCH = Tensor.__torch_dispatch__


def _lend(tensor: Tensor) -> object:
    try:
        if type(tensor).__torch_dispatch__ is not _NO_DISPATCH:
            raise TypeError("its class has another memory, or none")  # torch would lend null
        if tensor.is_neg():  # a view whose memory has the other sign, such as conj().imag
            tensor = tensor.resolve_neg()
        capsule: object = to_dlpack(tensor)
    except (BufferError, RuntimeError, TypeError) as error:
        raise InvalidArgumentError(
            f"native code: tensor: expected memory to read, got {type(tensor).__name__} on "
            f"{tensor.device} ({str(error).partition('. ')[0]}); call an op that is registered"
        ) from error
    return capsule


def borrow(tensor: Tensor) -> object:
    """Lend a tensor's memory, made contiguous, to a native call; autograd does not see it.

    A capsule made here costs a tenth of what asking the tensor for `__dlpack__` does.

    Args:
        tensor: on the device where the call computes. An output must already be contiguous, or a
            copy would be written.

    Returns:
        A DLPack capsule that keeps the memory alive.

    Raises:
        InvalidArgumentError: a tensor without memory of its own: fake, meta, batched by a
            transform, of a class that wraps others.
    """
    return _lend(tensor.contiguous())


def borrow_rows(matrix: Tensor) -> object:
    """Lend a matrix as it lies; rows may be at any distance, columns must be contiguous.

    Args:
        matrix: [rows, cols], or [rows, ...] contiguous, or [b, c, h, w] whose pixels are rows (as
            channels_last makes them), on the device where the call computes.

    Returns:
        A DLPack capsule that keeps the memory alive.

    Raises:
        InvalidArgumentError: as `borrow`.
    """
    return _lend(matrix)
