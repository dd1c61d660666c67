# SPDX-License-Identifier: Apache-2.0
"""Where a decoder's time goes: coder, rows and fix-up, exact layers, picture networks.

python -m benchmarks.decode_shares              the bundled model
python -m benchmarks.decode_shares glc-image    the official layout, its weights made by rule
"""

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.harness import CPU_CLOCK
from glc.codec import Codec
from glc.defaults import DEFAULT_MODEL
from glc.image import load_image
from glc.models import GLC
from glc.models.config import preset
from glc.payload import PayloadReader
from glc.strips import Networks

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "images" / "kodim23.png"
GROUPS = {
    "coder": (PayloadReader, ("__init__", "z_index", "symbols", "finish")),
    "exact layers": (Networks, ("exact_params", "exact_part_params")),
    "picture networks": (Networks, ("pixels",)),
}

_clock = time.process_time if CPU_CLOCK else time.perf_counter


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
    for _ in range(rounds + 1):
        spent: dict[str, float] = defaultdict(float)
        with ExitStack() as patches:
            for group, (owner, names) in GROUPS.items():
                for name in names:
                    timed = _timed(getattr(owner, name), group, spent)
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


def official_size_codec() -> Codec:
    """The official layout with weights made by rule: as slow as the real one, and as quiet.

    Real checkpoints have one non-zero symbol in a hundred (facts D); the transform is scaled so
    that a photograph has as many here.
    """
    torch.manual_seed(0)
    model = GLC(preset("glc-image"))
    with torch.no_grad():
        model.g_a.q.mul_(0.5)
    return Codec(model)


def _timed(call: Callable[..., Any], group: str, spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **options: Any) -> Any:
        start = _clock()
        try:
            return call(*args, **options)
        finally:
            spent[group] += _clock() - start

    return timed


def main() -> None:
    """Print the shares of one model."""
    name = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL
    codec = official_size_codec() if name == "glc-image" else Codec(name)
    data = codec.encode(load_image(SAMPLE), quality=2.0)
    analysis = codec.analyze(data)
    symbols = sum(part.symbols for part in analysis.parts)
    nonzero = sum(part.nonzero for part in analysis.parts) / symbols
    shares = decode_shares(codec, data, rounds=1 if name == "glc-image" else 5)
    print(f"{name}: {len(data)} bytes, {100 * nonzero:.2f} % of the symbols not zero")
    print(f"decode {shares.pop('seconds'):.3f} s on {torch.get_num_threads()} threads")
    for group, share in shares.items():
        print(f"{group:18} {100 * share:6.2f} %")


if __name__ == "__main__":
    main()
