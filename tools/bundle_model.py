# SPDX-License-Identifier: Apache-2.0
"""Turn a Stage III checkpoint into a bundled model: half-precision weights and attributions.

    python tools/bundle_model.py runs/stage3/checkpoint.pt glc/pretrained/glc-image-small \
        --manifest photos/manifest.csv --list photos/list.txt

The manifest has one row per photo with at least the columns filename, licence, source_repo and
original_path; the list names the photos that were trained on. The model card, README.md, is
written by hand and kept. --level-scales moves the rate levels after training: level k's vector is
multiplied by scales[k] in g_a and divided by it in g_s, so less than 1 means fewer bits.
"""

import argparse
import csv
from pathlib import Path

import torch

from glc.models import GLC, GLCConfig
from glc.training.loop import read_checkpoint

COLUMNS = ("filename", "licence", "source_repo", "original_path")


def main() -> None:
    """Parse, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--list", type=Path, required=True)
    parser.add_argument("--level-scales", type=float, nargs="+", default=[])
    args = parser.parse_args()

    state = read_checkpoint(args.checkpoint)
    if state["stage"] != "stage3":
        parser.error(f"expected a checkpoint of stage3, got {state['stage']}")
    model = GLC(GLCConfig.from_dict(state["model_config"]))
    model.load_state_dict(state["average"])
    if args.level_scales:
        scales = torch.tensor(args.level_scales).reshape(-1, 1, 1, 1)
        with torch.no_grad():
            model.g_a.q.mul_(scales)
            model.g_s.q.div_(scales)
    card = args.out / "README.md"
    kept = card.read_text(encoding="utf-8") if card.exists() else None
    model.save_pretrained(args.out, half=True)
    if kept is not None:
        card.write_text(kept, encoding="utf-8")

    rounded = GLC.from_pretrained(args.out)
    assert all(t.isfinite().all() for t in rounded.state_dict().values())
    wanted = set(args.list.read_text(encoding="utf-8").split())
    with args.manifest.open(newline="", encoding="utf-8") as manifest:
        rows = [row for row in csv.DictReader(manifest) if row["filename"] in wanted]
    missing = wanted - {row["filename"] for row in rows}
    if missing:
        parser.error(f"expected every photo in the manifest, got none for {sorted(missing)[:3]}")
    with (args.out / "ATTRIBUTION.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["filename"]))
    print(f"{args.out}: {rounded.inference_parameters()} parameters, {len(rows)} attributions")
    print(f"fingerprint {rounded.fingerprint().hex()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
