# SPDX-License-Identifier: Apache-2.0
"""Turn a Stage III checkpoint into a bundled model: half-precision weights and attributions.

    python tools/bundle_model.py runs/stage3/checkpoint.pt glc/pretrained/glc-image-small \
        --manifest photos/manifest.csv --list photos/list.txt

The manifest has one row per photo with at least the columns filename, licence, source_repo and
original_path; the list names the photos that were trained on. The model card, README.md, is
written by hand and kept. --level-scales moves the rate levels after training: level k's vector is
multiplied by scales[k] in g_a and divided by it in g_s, so less than 1 means fewer bits.
--photos, their folder, adds how well both codebooks are used by the listed photos.
"""

import argparse
import csv
from pathlib import Path

import torch

from glc.files import read_list
from glc.models import GLC, GLCConfig
from glc.training.checkpoint import read_checkpoint
from glc.training.config import DataConfig
from glc.training.data import Photos
from glc.training.level_rates import scale_levels
from glc.training.validation import codebook_health

COLUMNS = ("filename", "licence", "source_repo", "original_path")


def main() -> None:
    """Parse, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--list", type=Path, required=True)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--level-scales", type=float, nargs="+", default=[])
    args = parser.parse_args()

    wanted = set(read_list(args.list))
    with args.manifest.open(newline="", encoding="utf-8") as manifest:
        rows = [row for row in csv.DictReader(manifest) if row["filename"] in wanted]
    missing = wanted - {row["filename"] for row in rows}
    if missing:
        parser.error(f"expected every photo in the manifest, got none for {sorted(missing)[:3]}")

    state = read_checkpoint(args.checkpoint)
    if state["stage"] != "stage3":
        parser.error(f"expected a checkpoint of stage3, got {state['stage']}")
    model = GLC(GLCConfig.from_dict(state["model_config"]))
    model.load_state_dict(state["average"])
    if args.level_scales:
        scale_levels(model, args.level_scales)
    card = args.out / "README.md"
    kept = card.read_text(encoding="utf-8") if card.exists() else None
    model.save_pretrained(args.out, half=True)
    if kept is not None:
        card.write_text(kept, encoding="utf-8")

    rounded = GLC.from_pretrained(args.out)
    assert all(t.isfinite().all() for t in rounded.state_dict().values())
    with (args.out / "ATTRIBUTION.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["filename"]))
    print(f"{args.out}: {rounded.inference_parameters()} parameters, {len(rows)} attributions")
    if args.photos is not None:
        print_usage(rounded, args.photos, args.list)
    print(f"fingerprint {rounded.fingerprint().hex()}, torch {torch.__version__}")


@torch.inference_mode()
def print_usage(model: GLC, photos: Path, listed: Path) -> None:
    """Print how many rows of each codebook the photos select, sides cut to whole blocks."""
    loader = Photos(DataConfig(root=str(photos), list=str(listed), holdout=0), 0)
    levels = range(model.config.levels)
    index: dict[str, list[torch.Tensor]] = {"image": [], **{f"hyper {k}": [] for k in levels}}
    for number in loader.training:
        photo = loader.photo(number)
        if photo is None:
            continue
        height, width = (side - side % model.pad_multiple for side in photo.shape[:2])
        x = torch.from_numpy(photo[:height, :width].copy()).permute(2, 0, 1)[None] / 127.5 - 1
        l = model.latents(x)
        index["image"].append(model.image_vq.nearest(l).flatten())
        for k in levels:
            index[f"hyper {k}"].append(model.hyper_index(model.analysis(l, float(k))).flatten())
    index["hyper, all levels"] = [t for k in levels for t in index[f"hyper {k}"]]
    for name, parts in index.items():
        size = model.config.codebook_size if name == "image" else model.config.hyper_codebook_size
        health = codebook_health(torch.cat(parts), size)
        print(f"codebook {name}: {health['usage']:.1%} used, perplexity {health['perplexity']:.0f}")


if __name__ == "__main__":
    main()
