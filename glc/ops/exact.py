# SPDX-License-Identifier: Apache-2.0
"""Convolutions whose results are the same bits on every machine, for coding.

What trips people first: these are not faster or more accurate convolutions, they are *reproducible*
ones. A sum has one order (`csrc/include/glc/exact.h`), so that the decoder's machine, thread count
and memory format cannot change what it predicts. They are for the entropy path of a codec, which
needs no gradients; training uses the ordinary layers with the same weights.

Weights are packed for the kernels at the first call and again after they changed or were replaced.
On a CUDA device, changes through `Tensor.data` are as invisible to that as to autograd; and call
once there before a graph is captured.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeAlias, TypeVar

from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops import _cuda, _exact_cuda
from glc.ops._exact_cuda import EVERYWHERE, Sampling, head_channels
from glc.ops._op import Op, borrow, require_no_gradients, require_same_device

Phase = tuple[int, int]
"""First row and column, 0 or 1 each, of every second row and column of a map."""

_Packed = TypeVar("_Packed")
_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")
_AnyConv: TypeAlias = _core.ExactConv | _exact_cuda.Conv

# weight -> {use: (what it was packed from, the sum of their values, the packed object)}
_packed: Any = WeakTensorKeyDictionary()


class DepthConvWeights(NamedTuple):
    """Weights of one `exact_depth_conv_block`, float32, as `torch.nn.Conv2d` keeps them.

    Attributes:
        expand: [a, a, 1, 1], and its bias [a].
        depthwise: [a, 1, 3, 3], and its bias [a].
        project: [b, a, 1, 1], and its bias [b].
        adaptor: [b, a, 1, 1], and its bias [b]; None where a == b.
        gate: [4 b, b, 1, 1], and its bias [4 b].
        contract: [b, 2 b, 1, 1], and its bias [b].
        depth_slope: of the LeakyReLU after `expand`.
        gate_slope: of the LeakyReLU on the second half of `gate`.
    """

    expand: Tensor
    expand_bias: Tensor
    depthwise: Tensor
    depthwise_bias: Tensor
    project: Tensor
    project_bias: Tensor
    adaptor: Tensor | None
    adaptor_bias: Tensor | None
    gate: Tensor
    gate_bias: Tensor
    contract: Tensor
    contract_bias: Tensor
    depth_slope: float
    gate_slope: float

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """The twelve tensors, in order."""
        return self[:12]


# ---------------------------------------------------------------- shared


def _lend(tensor: Tensor) -> object:
    return borrow(tensor.detach())


def _lend_or_none(tensor: Tensor | None) -> object:
    return None if tensor is None else _lend(tensor)


def _bias_of(weight: Tensor, bias: Tensor | None) -> Tensor:
    return weight.new_zeros(weight.shape[0]) if bias is None else bias


def _pack_conv(weight: Tensor, bias: Tensor | None) -> _AnyConv:
    bias = _bias_of(weight, bias)
    if not _cuda.takes(weight):
        return _core.ExactConv(_lend(weight), _lend(bias))
    if weight.shape[2] != weight.shape[3]:
        raise InvalidArgumentError("exact_conv2d: weight: expected a square kernel")
    return _exact_cuda.Conv(weight.detach(), bias.detach())


def _run_conv(
    conv: _AnyConv,
    x: Tensor,
    out: Tensor,
    sampling: Sampling,
    slope: float | None = None,
    shuffle: int = 1,
    residual: Tensor | None = None,
) -> None:
    if isinstance(conv, _exact_cuda.Conv):
        conv.run(x, out, sampling, slope, shuffle, residual)
    else:
        conv.run(_lend(x), borrow(out), sampling, slope, shuffle, _lend_or_none(residual))


def _sampled(x: Tensor, sampling: Sampling) -> tuple[int, int]:
    stride, row, col = sampling
    h, w = x.shape[2:]
    return max(-(-(h - row) // stride), 0), max(-(-(w - col) // stride), 0)


def _once(
    use: str, x: Tensor, tensors: Sequence[Tensor | None], pack: Callable[[], _Packed]
) -> _Packed:
    """What `pack` makes of the tensors for x, kept with the first until any of them changes."""
    first = tensors[0]
    assert first is not None
    if any(t is not None and t.is_inference() for t in tensors):
        return pack()  # changes of such tensors leave no trace
    made_from = [(t.data_ptr(), t._version, t.shape) for t in tensors if t is not None]
    on_device = _cuda.takes(x)

    def values_sum() -> int:  # changes through .data show in the values alone
        return 0 if on_device else _core.exact_weights_sum([_lend_or_none(t) for t in tensors])

    uses = _packed.setdefault(first, {})
    key = (use, on_device)
    found = uses.get(key)
    if found is None or found[:2] != (made_from, values_sum()):
        made = pack()
        if on_device:
            _cuda.wait_for(x)
        found = uses[key] = (made_from, values_sum(), made)
    packed: _Packed = found[2]
    return packed


def _require_maps(op: str, x: Tensor, weight: Tensor | None, *others: Tensor | None) -> None:
    if x.dim() != 4 or (weight is not None and weight.dim() != 4):
        raise InvalidArgumentError(f"{op}: x and weight: expected 4 dimensions each")
    for tensor in (weight, *others):
        if tensor is not None:
            require_same_device(op, x=x, weights=tensor)


def _refusing_gradients(op: str, plain: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
    """Make the public form of a plain one: it refuses tensors that want gradients."""

    @functools.wraps(plain)
    def call(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        given = [*args, *kwargs.values()]
        tensors = [t for arg in given for t in (arg if isinstance(arg, tuple) else (arg,))]
        require_no_gradients(
            op, tensors, "code under torch.no_grad(), train with the ordinary layers"
        )
        return plain(*args, **kwargs)

    call.__name__ = call.__qualname__ = op
    return call


# ---------------------------------------------------------------- exact_conv2d


def _exact_conv2d_plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int = 1,
    groups: int = 1,
    *,
    slope: float | None = None,
    shuffle: int = 1,
    residual: Tensor | None = None,
) -> Tensor:
    """Convolve, with the same bits on every machine.

    out = residual + shuffle(LeakyReLU(bias + sum over kh, kw, ci of x w))

    The sum is one chain of fused multiply-adds in that order, starting at the bias; zero padding
    keeps the size. The result does not depend on the device, on threads, instruction sets, or
    whether the caller flushes denormals.

    Args:
        x: [n, a, h, w] float32, on the CPU, or on a CUDA device where glc was built with CUDA.
        weight: [b, a, 1, 1] or [b, a, 3, 3] float32; [a, 1, 3, 3] with `groups`.
        bias: [b] float32, or None for zeros.
        stride: 1 or 2.
        groups: 1, or a: one 3x3 kernel per channel, at stride 1 and without the options below.
        slope: of a LeakyReLU on the sums; None for none.
        shuffle: 2 rearranges channels into 2 x 2 pixels, as `torch.nn.PixelShuffle`.
        residual: like the output, added last; not with a shuffle.

    Returns:
        [n, b / shuffle^2, h', w'] float32 with h' = shuffle x ceil(h / stride). No gradient.

    Raises:
        InvalidArgumentError: shapes, dtypes or devices do not fit, or a gradient is asked for.
    """
    _require_maps("exact_conv2d", x, weight, bias, residual)
    channels = weight.shape[0]
    if groups != 1:
        if groups != x.shape[1] or tuple(weight.shape) != (groups, 1, 3, 3):
            raise InvalidArgumentError(
                f"exact_conv2d: groups: expected 1, or every one of {x.shape[1]} channels with a "
                f"3x3 kernel, got {groups} with a weight of {tuple(weight.shape)}"
            )
        if (stride, slope, shuffle, residual) != (1, None, 1, None):
            raise InvalidArgumentError("exact_conv2d: groups: expected 1 with any option, got more")
        out = x.new_empty(x.shape)
        lent = [_lend(t) for t in (x, weight, _bias_of(weight, bias))]
        _core.exact_depthwise(*lent, borrow(out), *_cuda.stream_for(x))
        return out
    conv = _once("conv", x, (weight, bias), lambda: _pack_conv(weight, bias))
    factor = max(shuffle, 1)
    step = max(stride, 1)  # what is out of range, the native side refuses
    h, w = (factor * -(-side // step) for side in x.shape[2:])
    out = x.new_empty(x.shape[0], channels // factor**2, h, w)
    _run_conv(conv, x, out, (stride, 0, 0), slope, shuffle, residual)
    return out


def _exact_conv2d_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int = 1,
    groups: int = 1,
    *,
    slope: float | None = None,
    shuffle: int = 1,
    residual: Tensor | None = None,
) -> Tensor:
    padding = weight.shape[-1] // 2
    wide = None if bias is None else bias.double()
    out = F.conv2d(x.double(), weight.double(), wide, stride, padding, groups=groups)
    if slope is not None:
        out = F.leaky_relu(out, slope)
    out = F.pixel_shuffle(out, shuffle)
    return out if residual is None else out + residual.double()


exact_conv2d = Op(
    _refusing_gradients("exact_conv2d", _exact_conv2d_plain),
    reference=_exact_conv2d_reference,
    plain=_exact_conv2d_plain,
)


# ---------------------------------------------------------------- exact_depth_conv_block


def _depth_conv_heads(
    x: Tensor, weights: DepthConvWeights, samplings: Sequence[Sampling]
) -> list[Tensor]:
    _require_maps("exact_depth_conv_block", x, None, *weights.tensors)
    n_heads = len(samplings)
    slopes = (weights.depth_slope, weights.gate_slope)

    def pack() -> _core.ExactDepthConvBlock | _exact_cuda.DepthConvBlock:
        tensors = [None if t is None else t.detach() for t in weights.tensors]
        lent = [None if t is None else borrow(t.cpu()) for t in tensors]
        block = _core.ExactDepthConvBlock(lent, slopes, n_heads)  # also checks all shapes
        return _exact_cuda.DepthConvBlock(tensors, slopes, n_heads) if _cuda.takes(x) else block

    block = _once(f"block {n_heads} {slopes}", x, weights.tensors, pack)
    channels = weights.contract_bias.shape[0] // n_heads
    outs = [x.new_empty(x.shape[0], channels, *_sampled(x, sampling)) for sampling in samplings]
    if isinstance(block, _exact_cuda.DepthConvBlock):
        block.run(x.detach(), samplings, outs)
    else:
        block.run(_lend(x), list(samplings), [borrow(out) for out in outs])
    return outs


def _exact_depth_conv_block_plain(x: Tensor, weights: DepthConvWeights) -> Tensor:
    """Run a depthwise block and its gated feed-forward part, with the same bits everywhere.

    spatial = project(depthwise(LeakyReLU(expand(x)))) + skip(x)      (facts B4)
    (u, v)  = gate(spatial)
    out     = contract(u LeakyReLU(v)) + spatial

    On the CPU in two sweeps over the map; the sums are those of `exact_conv2d`.

    Args:
        x: [n, a, h, w] float32, on the CPU, or on a CUDA device where glc was built with CUDA.
        weights: see `DepthConvWeights`.

    Returns:
        [n, b, h, w] float32. No gradient.

    Raises:
        InvalidArgumentError: shapes, dtypes or devices do not fit, or a gradient is asked for.
    """
    return _depth_conv_heads(x, weights, [EVERYWHERE])[0]


def _exact_depth_conv_block_reference(x: Tensor, weights: DepthConvWeights) -> Tensor:
    conv = _exact_conv2d_reference
    w = weights
    expanded = conv(x, w.expand, w.expand_bias, slope=w.depth_slope)
    spatial = conv(expanded, w.depthwise, w.depthwise_bias, groups=x.shape[1])
    skip = x if w.adaptor is None else conv(x, w.adaptor, w.adaptor_bias)
    spatial = conv(spatial, w.project, w.project_bias, residual=skip)
    u, v = conv(spatial, w.gate, w.gate_bias).chunk(2, dim=1)
    gated = u * F.leaky_relu(v, w.gate_slope)
    return conv(gated, w.contract, w.contract_bias, residual=spatial)


exact_depth_conv_block = Op(
    _refusing_gradients("exact_depth_conv_block", _exact_depth_conv_block_plain),
    reference=_exact_depth_conv_block_reference,
    plain=_exact_depth_conv_block_plain,
)


# ---------------------------------------------------------------- heads: what one part needs


def _require_phases(op: str, phases: Sequence[Phase]) -> None:
    if len(phases) < 2:
        raise InvalidArgumentError(f"{op}: phases: expected two or more, got {len(phases)}")


def _exact_depth_conv_heads_plain(
    x: Tensor, weights: DepthConvWeights, phases: Sequence[Phase]
) -> list[Tensor]:
    """Run a block, but its last convolution only for what is wanted.

    The output channels are two halves (scale and mean) of len(phases) groups each. Group g of both
    halves is computed at the pixels of phase g, and nowhere else: the same bits, a fourth of the
    work for four phases.

    Args:
        x: [n, a, h, w] float32, as `exact_depth_conv_block`.
        weights: see `DepthConvWeights`; b a multiple of 2 len(phases).
        phases: two or more.

    Returns:
        A map [n, b / len(phases), rows, columns] float32 per phase. No gradient.

    Raises:
        InvalidArgumentError: as `exact_depth_conv_block`.
    """
    _require_phases("exact_depth_conv_heads", phases)
    return _depth_conv_heads(x, weights, [(2, row, col) for row, col in phases])


exact_depth_conv_heads = _refusing_gradients(
    "exact_depth_conv_heads", _exact_depth_conv_heads_plain
)


def _exact_conv_heads_plain(
    x: Tensor, weight: Tensor, bias: Tensor, phases: Sequence[Phase]
) -> list[Tensor]:
    """Run a 1x1 convolution only for what is wanted; see `exact_depth_conv_heads`.

    Args:
        x: [n, a, h, w] float32, as `exact_conv2d`.
        weight: [b, a, 1, 1] float32, b a multiple of 2 len(phases).
        bias: [b] float32.
        phases: two or more.

    Returns:
        A map [n, b / len(phases), rows, columns] float32 per phase. No gradient.

    Raises:
        InvalidArgumentError: as `exact_conv2d`.
    """
    _require_maps("exact_conv2d", x, weight, bias)
    _require_phases("exact_conv_heads", phases)
    n_heads = len(phases)
    if weight.shape[0] % (2 * n_heads):
        raise InvalidArgumentError(
            f"exact_conv2d: weight: expected a multiple of {2 * n_heads} output channels, "
            f"got {weight.shape[0]}"
        )

    def pack() -> list[_AnyConv]:
        return [_pack_conv(weight[c], bias[c]) for c in head_channels(weight.shape[0], n_heads)]

    outs = []
    convs = _once(f"heads {n_heads}", x, (weight, bias), pack)
    for conv, (row, col) in zip(convs, phases, strict=True):
        sampling = (2, row, col)
        out = x.new_empty(x.shape[0], weight.shape[0] // n_heads, *_sampled(x, sampling))
        _run_conv(conv, x, out, sampling)
        outs.append(out)
    return outs


exact_conv_heads = _refusing_gradients("exact_conv_heads", _exact_conv_heads_plain)
