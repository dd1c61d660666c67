# SPDX-License-Identifier: Apache-2.0
"""One step of Stage II: our ops, the same model on plain torch ops, and the authors' formulas.

The model, its weights and the crops are the same; only quantisation and rates are replaced, ours by
what one would write in torch, and by the authors' formulas (facts F, D8): a one-hot matrix
times the codebook, and probabilities of a torch.distributions.Normal. The step is forward and
backward without the optimiser, which nobody changes. In "official bf16" the image network runs
under autocast, as in `glc train --set bf16=true`. Peak memory is that of a step in a process of its
own, beyond weights and gradients.
"""

from __future__ import annotations

import contextlib
import functools
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

import glc.models.glc as glc_module
from benchmarks import memory
from benchmarks.harness import FAST, Race
from glc.losses.code_prediction import code_distortion
from glc.models.config import preset
from glc.models.context import part_index
from glc.models.glc import GLC
from glc.models.outputs import FourPart
from glc.models.predictor import CodePredictor
from glc.ops.parts import PARTS
from glc.ops.straight_through import round_ste
from glc.ops.vector_quantizer import Quantized, VectorQuantizer

CUDA = torch.cuda.is_available()
# The same races, where the machine is fastest. A second thread of ours would wait actively between
# our ops, and a clock of CPU time would count that.
pytestmark = [pytest.mark.cuda if CUDA else pytest.mark.usefixtures("one_thread")]
DEVICE = "cuda" if CUDA else "cpu"
# preset, batch, side: what fits the device; the code predictor needs crops of its own size
CASES = {
    "small": ("glc-image-small", 8, 128),
    "official": ("glc-image", 8 if CUDA else 2, 256 if CUDA else 128),
}
BF16 = "official bf16"
if CUDA:
    CASES[BF16] = CASES["official"]
LOSS_TOLERANCE = 1e-3  # relative; near-ties of the search may fall to either side
FLOOR = 1e-5


def one_matrix_nearest(self: VectorQuantizer, z: Tensor) -> Tensor:
    """All distances at once, as plain torch code has it."""
    b, d, h, w = z.shape
    latents = z.detach().float().permute(0, 2, 3, 1).reshape(-1, d)
    return torch.cdist(latents, self.codebook).argmin(1).view(b, h, w)


def _quantized(self: VectorQuantizer, z: Tensor, rows: Tensor, index: Tensor) -> Quantized:
    """The losses as one writes them in torch; rows [n, d], index [n]."""
    b, d, h, w = z.shape
    rows = rows.view(b, h, w, d).permute(0, 3, 1, 2)
    commitment = (rows.detach() - z).square().mean()
    codebook = (rows - z.detach()).square().mean() * (self.ema_decay is None)
    usage = torch.bincount(index, minlength=len(self.codebook))
    straight = z + (rows - z).detach()
    loss = commitment + self.beta * codebook
    return Quantized(straight, index.view(b, h, w), codebook, commitment, loss, usage)


def embedding_forward(self: VectorQuantizer, z: Tensor) -> Quantized:
    """Plain torch: all distances at once, and the rows looked up."""
    index = one_matrix_nearest(self, z).flatten()
    return _quantized(self, z, torch.nn.functional.embedding(index, self.codebook), index)


def one_hot_forward(self: VectorQuantizer, z: Tensor) -> Quantized:
    """The authors' quantiser: distances by the expanded square, one-hot rows times the codebook."""
    flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
    distance = (
        flat.square().sum(1, keepdim=True)
        + self.codebook.square().sum(1)
        - 2 * flat @ self.codebook.t()
    )
    index = distance.argmin(1, keepdim=True)
    one_hot = torch.zeros(len(flat), len(self.codebook), device=z.device).scatter_(1, index, 1)
    return _quantized(self, z, one_hot @ self.codebook, index.flatten())


def normal_bits(y: Tensor, mean: Tensor, scale: Tensor, **_: Any) -> Tensor:
    """Rounded symbols with the slope of the residual, by torch.distributions."""
    residual = y - mean

    def bits(symbol: Tensor, scale: Tensor) -> Tensor:
        width = scale.clamp(1e-5, 1e10)
        # checking its arguments would wait for the device
        normal = torch.distributions.Normal(torch.zeros_like(width), width, validate_args=False)
        probability = normal.cdf(symbol + 0.5) - normal.cdf(symbol - 0.5)
        return (-torch.log2(probability + FLOOR)).clamp_min(0)

    slope = bits(residual, scale.detach())
    return bits(residual.detach().round(), scale) + (slope - slope.detach())


@functools.cache
def _mask(shape: tuple[int, ...], part: int, device: torch.device) -> Tensor:
    """Ones at a part's positions; kept, as the authors keep theirs."""
    mask = torch.zeros(math.prod(shape))
    mask[torch.from_numpy(part_index(*shape, part).copy())] = 1
    return mask.view(1, *shape).to(device)


def masked_four_part(self: GLC, y: Tensor, params: Tensor) -> FourPart:
    """The authors' passes: a mask times everything, and sums (facts D)."""
    step, context = self.split_params(params)
    y_scaled = y * (1 / step)
    y_q, y_hat, scale, mean = (torch.zeros_like(y) for _ in range(4))
    for part in range(PARTS):
        part_scale, part_mean = self.part_params(part, params, context, y_hat)
        mask = _mask(tuple(y.shape[1:]), part, y.device)
        symbols = round_ste(y_scaled - part_mean) * mask
        y_q, y_hat = y_q + symbols, y_hat + symbols + part_mean * mask
        scale, mean = scale + part_scale * mask, mean + part_mean * mask
    return FourPart(y_q, y_hat * step, scale, mean, y_scaled)


@contextlib.contextmanager
def ops_of(side: str) -> Iterator[None]:
    """Put a side's formulas in the place of our ops."""
    with contextlib.ExitStack() as stack:
        if side != "ours":
            stack.enter_context(mock.patch.object(glc_module, "residual_bits", normal_bits))
            forward = embedding_forward if side == "plain torch" else one_hot_forward
            for name, plain in (("nearest", one_matrix_nearest), ("forward", forward)):
                stack.enter_context(mock.patch.object(VectorQuantizer, name, plain))
            stack.enter_context(mock.patch.object(GLC, "four_part", masked_four_part))
        yield


SIDES = ("ours", "plain torch", "authors' one-hot")


def make_step(case: str, side: str) -> Callable[[], tuple[float, float]]:
    """A step without arguments that returns loss and gradient norm."""
    name, batch, side_pixels = CASES[case]
    torch.manual_seed(0)
    config = preset(name)
    model = GLC(config).train().to(DEVICE)
    model.latent_encoder.requires_grad_(False)
    model.latent_decoder.requires_grad_(False)
    model.image_vq.requires_grad_(False).eval()
    model.hyper_vq.eval()  # a step has to find the same codebook each time
    predictor: CodePredictor | None = None
    if (side_pixels // 16) ** 2 == config.predictor.positions:
        predictor = CodePredictor(config.predictor, config.l_channels, config.codebook_size)
        predictor = predictor.to(DEVICE)
    x = torch.rand(batch, 3, side_pixels, side_pixels, device=DEVICE) * 2 - 1
    level = (torch.arange(batch, device=DEVICE) % config.levels).float()
    parameters = [p for p in model.parameters() if p.requires_grad]

    def step() -> tuple[float, float]:
        with ops_of(side):
            model.zero_grad(set_to_none=True)
            with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16, enabled=case == BF16):
                l = model.latents(x).float()
            index = model.image_vq.nearest(l)
            out = model.code_latent(l, level)
            logits = None if predictor is None else predictor(out.l_hat)
            distortion = code_distortion(l, out.l_hat, index, logits).mean()
            bits = (out.bits_y + out.bits_z).mean() / side_pixels**2
            loss = bits + distortion + out.hyper.loss
            loss.backward()
            norms = torch._foreach_norm([p.grad for p in parameters if p.grad is not None])
            value, norm = torch.stack([loss.detach(), torch.stack(norms).norm()]).tolist()
            return value, norm

    return step


def peak_megabytes(case: str, side: str) -> float:
    """Peak memory of one step, beyond weights and gradients."""
    if CUDA:
        step = make_step(case, side)
        step()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    command = [sys.executable, "-m", "benchmarks.bench_train_step", case, side]
    done = subprocess.run(command, cwd=memory.ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 2**20


@pytest.mark.parametrize("case", ["small"] if FAST else list(CASES))
def bench_train_step(race: Race, case: str) -> None:
    def check(ours: Any, peers: dict[str, Any]) -> None:
        for name, theirs in peers.items():
            assert theirs == pytest.approx(ours, rel=LOSS_TOLERANCE), name

    steps = {side: make_step(case, side) for side in SIDES}
    _, batch, pixels = CASES[case]
    race(
        steps.pop("ours"),
        steps,
        check=check,
        work=batch,
        unit="crops",
        threads=CUDA,  # whose work no CPU clock sees
        notes={"crops": f"{batch} x {pixels} x {pixels}", "device": DEVICE},
        side_notes={side: {"peak MB": peak_megabytes(case, side)} for side in SIDES},
    )


if __name__ == "__main__":
    measured = make_step(*sys.argv[1:3])
    measured()
    print(memory.measure(measured))
