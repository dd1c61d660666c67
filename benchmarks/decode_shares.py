# SPDX-License-Identifier: Apache-2.0
"""Where a decoder's time goes: coder, rows and fix-up, exact layers, picture networks.

python -m benchmarks.decode_shares                    the bundled model
python -m benchmarks.decode_shares glc-image          the official layout, its weights made by rule
python -m benchmarks.decode_shares glc-image cuda     on a device, a picture of 1080 rows

Where other work shares the processor, OMP_WAIT_POLICY=PASSIVE keeps waiting threads out of the
times. On a device a group's time ends when its work does, which the whole decode need not wait for.
"""

import dataclasses
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from benchmarks.harness import CPU_CLOCK
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.image import load_image
from glc.models import GLC
from glc.models.config import preset
from glc.payload import PayloadReader

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "images" / "kodim23.png"
GROUPS = {  # by name: the methods, of what `_owners` says
    "coder": ("__init__", "z_index", "symbols", "finish"),
    "exact layers": ("exact_params", "exact_part_params"),
    "picture networks": ("pixels",),
}

FULL_HD = (1920, 1080)  # pixels

# of the model made by rule
LOUD_GROUPS = (1, 7, 10, 15)  # of 16 channels
STEPS = (0.5, 1.1)  # quantisation, in loud channels and in quiet ones
SCALES = (0.15, 0.08)
BRANCH_GAIN = 0.3  # of a residual branch at initialisation, as the small preset has it
HEAD_GAIN = 0.1  # of the skips that lead to the heads
CODE_REACH = 0.05  # of the hyper codebook, like z's
CENTRE_STEP = 1 / 64  # of y's centres: coarse, so that every machine finds the same
Y_GAIN = 0.32

_clock = time.process_time if CPU_CLOCK else time.perf_counter


def _owners(codec: Codec) -> tuple[type, type, type]:
    return PayloadReader, type(codec._coder_networks), type(codec._networks)


def decode_shares(codec: Codec, data: bytes, rounds: int = 5) -> dict[str, float]:
    """Decode a few times and say what share of it each group of calls takes.

    Args:
        codec: of the file's model.
        data: the file.
        rounds: decodes to take the median of, after one that is not counted.

    Returns:
        Seconds of a whole decode under "seconds", and the shares, 0 .. 1, which sum to 1. What is
        in no group, table rows, gathers and dequantisation, is "rows and fix-up".
    """
    runs: list[dict[str, float]] = []
    on_device = codec.device.type == "cuda"
    for _ in range(rounds + 1):
        spent: dict[str, float] = defaultdict(float)
        with ExitStack() as patches:
            for (group, names), owner in zip(GROUPS.items(), _owners(codec), strict=True):
                for name in names:
                    timed = _timed(getattr(owner, name), group, spent, on_device)
                    patches.enter_context(mock.patch.object(owner, name, timed))
            start = _clock()
            codec.decode(data)
            spent["seconds"] = _clock() - start
        runs.append(spent)
    total = statistics.median(run["seconds"] for run in runs[1:])
    shares = {
        group: statistics.median(run[group] / run["seconds"] for run in runs[1:])
        for group in GROUPS
    }
    return {"seconds": total, **shares, "rows and fix-up": 1.0 - sum(shares.values())}


def nonzero_share(codec: Codec, data: bytes) -> float:
    """Which share of a file's symbols of y is not zero, 0 .. 1."""
    parts = codec.analyze(data).parts
    return sum(part.nonzero for part in parts) / sum(part.symbols for part in parts)


def full_hd() -> NDArray[np.uint8]:
    """The sample, enlarged to 1920 x 1080 and cropped below."""
    with Image.open(SAMPLE) as sample:
        height = round(FULL_HD[0] * sample.height / sample.width)
        large = sample.convert("RGB").resize((FULL_HD[0], height), Image.Resampling.BICUBIC)
        return np.asarray(large)[: FULL_HD[1]].copy()


def official_size_codec(device: str = "cpu") -> Codec:
    """The official layout with weights made by rule: as slow as the real one, and as quiet.

    Drawn at random, a model codes symbols of which one in seven is not zero, all with a scale that
    a few constants make. Real checkpoints have one in a hundred to one in 250, most of them in four
    groups of 16 channels, at 0.04 to 0.11 bits a symbol (facts D). So the heads of the context
    model are scaled: means come near zero, and steps and scales near what is written here for loud
    and quiet channels. y is centred, as training would. What the networks compute still decides
    about every symbol, and every layer has its full work. The sample comes to 0.065 bits a symbol,
    of which one in 210 is not zero.

    Args:
        device: where it runs; the weights are the same everywhere, from uniform draws.
    """
    torch.manual_seed(0)
    model = GLC(dataclasses.replace(preset("glc-image"), residual_gain=BRANCH_GAIN)).eval()
    n = model.config.latent_channels
    loud = torch.tensor([channel // 16 in LOUD_GROUPS for channel in range(n)])
    step, scale = (torch.where(loud, *values) for values in (STEPS, SCALES))
    context = model.context
    with torch.no_grad():
        model.hyper_vq.codebook.uniform_(-CODE_REACH, CODE_REACH)
        skip = context.fusion[-1].get_submodule("block.0.adaptor")
        for tensor in (*skip.parameters(), *context.reduction.parameters()):
            tensor.mul_(HEAD_GAIN)
        _last_bias(context.fusion).add_(torch.cat((step, scale, 0.0 * scale)))
        _last_bias(context.prior).add_(torch.cat((scale, 0.0 * scale)))
        model.g_a.q.mul_(Y_GAIN)
        y = model.analysis(model.latents(2.0 * torch.rand(1, 3, 64, 64) - 1.0), 0.0)
        centres = (y.mean((0, 2, 3)) / CENTRE_STEP).round() * CENTRE_STEP
        _last_bias(model.g_a.second).sub_(centres)
    return Codec(model, device)


def _last_bias(blocks: nn.Sequential) -> nn.Parameter:
    """Of what the last block gives."""
    return blocks[-1].get_parameter("block.1.conv_out.bias")


def _timed(
    call: Callable[..., Any], group: str, spent: dict[str, float], on_device: bool
) -> Callable[..., Any]:
    def now() -> float:
        if on_device:
            torch.cuda.synchronize()
        return _clock()

    def timed(*args: Any, **options: Any) -> Any:
        start = now()
        try:
            return call(*args, **options)
        finally:
            spent[group] += now() - start

    return timed


def main() -> None:
    """Print the shares of one model."""
    name = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL
    device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    codec = official_size_codec(device) if name == "glc-image" else Codec(name, device)
    pixels = load_image(SAMPLE) if device == "cpu" else full_hd()
    data = codec.encode(pixels, quality=2.0)
    nonzero = nonzero_share(codec, data)
    slow = name == "glc-image" and device == "cpu"
    shares = decode_shares(codec, data, rounds=1 if slow else 5)
    print(f"{name}: {len(data)} bytes, {100 * nonzero:.2f} % of the symbols not zero")
    print(f"decode {shares.pop('seconds'):.4f} s on {torch.get_num_threads()} threads, {device}")
    for group, share in shares.items():
        print(f"{group:18} {100 * share:6.2f} %")


if __name__ == "__main__":
    main()
