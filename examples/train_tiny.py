# SPDX-License-Identifier: Apache-2.0
"""Train all three stages of a tiny model until it overfits 32 photos: minutes on a CPU.

    python examples/train_tiny.py [PHOTOS] [--out runs/tiny]

PHOTOS is a folder; its first 32 photos, or all of fewer, are used, shrunk to 96 pixels. Without it
the photos are 32 tiles of the bundled sample. The sizes in the table are those of real files,
decoded again.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import yaml
from PIL import Image
from rich.console import Console
from rich.table import Table

from glc.evaluation import evaluate, find_images, psnr
from glc.image import load_image
from glc.models import GLC
from glc.models.config import preset
from glc.models.padding import pad_to_multiple
from glc.training.cli import run
from glc.training.shards import find_sources

COUNT, SIDE = 32, 96
SAMPLE = Path(__file__).parent / "images" / "kodim23.png"
COMMON = {
    "model": "glc-tiny",
    "batch": 8,
    "warmup": 20,
    "ema_decay": 0.98,
    "tensorboard": False,
    "device": "cpu",
    "threads": 1,  # layers of 16 channels are not worth sharing
    "checkpoint_every": 500,
}
ALONE = {"adversarial": {"weight": 0.0}}  # without a discriminator
STAGES = {
    "stage1": {"steps": 700, "learning_rate": 5e-3, "codebook": {"start": 100}, **ALONE},
    "stage2": {
        "steps": 300,
        "learning_rate": 5e-3,
        "codebook": {"start": 50},
        "rate": {"lambdas": [0.1, 0.2, 0.4, 0.8], "noise_until": 0.1},
    },
    "stage3": {
        "steps": 700,
        "learning_rate": 3e-3,
        "code_weight": 0.01,
        "codebook": {"reseed_until": 0.0},
        "rate": {"lambdas": [1.0, 2.0, 4.0, 8.0]},
        **ALONE,
    },
}


def main() -> None:
    """Prepare the photos, train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("runs/tiny"))
    args = parser.parse_args()
    photos = args.out / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    count = write_photos(args.photos, photos)
    data = {"root": str(photos), "holdout": 0, "crop": 64, "resized_share": 0.0}

    untrained = args.out / "untrained"
    torch.manual_seed(0)
    GLC(preset("glc-tiny")).save_pretrained(untrained)
    rows = [("untrained", "", "", *measure(photos, untrained))]
    before = None
    for stage, settings in STAGES.items():
        out = args.out / stage
        config = {**COMMON, **settings, "out": str(out), "data": data, "init": before}
        path = args.out / f"{stage}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        (out / "checkpoint.pt").unlink(missing_ok=True)  # of an earlier run, which would be kept
        run(stage, path, [], False)
        before = str(out / "checkpoint.pt")
        rows.append((stage, str(settings["steps"]), losses(out), *measure(photos, out / "model")))

    table = Table(title=f"{count} photos, {args.out}", box=None)
    levels = ("bpp, q 0", "PSNR, q 0", "bpp, q 3", "PSNR, q 3")
    for name in ("", "steps", "loss", "PSNR of D(E(x))", *levels):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)


def write_photos(source: Path | None, out: Path) -> int:
    """Write 32 small PNGs, or as many as there are photos; how many."""
    if source is None:
        sample = Image.open(SAMPLE).convert("RGB")
        boxes = [(x, y, x + 96, y + 128) for y in range(0, 512, 128) for x in range(0, 768, 96)]
        images = [sample.crop(box) for box in boxes]
    else:
        images = []
        for found in find_sources(source)[:COUNT]:
            image = Image.fromarray(found.decode())
            scale = SIDE / min(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            images.append(image.resize(size, Image.Resampling.LANCZOS))
    files = {out / f"{number:02d}.png": image for number, image in enumerate(images)}
    if others := set(out.iterdir()) - files.keys():  # they would be trained on and measured too
        sys.exit(f"expected no other files in {out}, got {min(others).name}; give another --out")
    for path, image in files.items():
        image.save(path)
    return len(files)


def losses(out: Path) -> str:
    """First and last logged value of what the stage reconstructs."""
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    name = "l1" if "l1" in records[0] else "d_code"
    values = [record[name] for record in records if name in record]
    return f"{name} {values[0]:.3f} -> {values[-1]:.3f}"


def measure(photos: Path, model: Path) -> tuple[str, ...]:
    """PSNR of the autoencoder alone, and real bits per pixel and PSNR at qualities 0 and 3."""
    glc = GLC.from_pretrained(model)
    alone = []
    for x in map(load_image, find_images(photos)):
        pixels = torch.from_numpy(x).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.inference_mode():
            x_hat = glc.reconstruct(glc.latents(pad_to_multiple(pixels, glc.pad_multiple)))
        drawn = ((x_hat[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
        alone.append(psnr(x, drawn[: x.shape[0], : x.shape[1]]))
    result = evaluate(photos, str(model), (0.0, 3.0))
    figures = [text for level in result.levels for text in (f"{level.bpp:.3f}", decibels(level))]
    return (f"{sum(alone) / len(alone):.2f}", *figures)


def decibels(level) -> str:
    """Decibels as text."""
    return f"{level.psnr_db:.2f}"


if __name__ == "__main__":
    main()
