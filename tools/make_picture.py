# SPDX-License-Identifier: Apache-2.0
"""Draw the README's picture: a part of an original beside what its files decode to.

python tools/make_picture.py examples/images/kodim23.png docs/images/kodim23.png 1 \
    --against avif --crop 372 96 700 400
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glc.codec import Codec
from glc.evaluation.anchors import best_within
from glc.evaluation.metrics import psnr
from glc.image import load_image

BAR = 34  # pixels of caption above each panel
GAP = 8


def main() -> None:
    """Encode, decode, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("quality", type=float, nargs="+")
    parser.add_argument("--model", default="glc-image-small")
    parser.add_argument("--against", help="another codec, to draw what it makes of the same bytes")
    parser.add_argument("--crop", type=int, nargs=4, metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"))
    parser.add_argument("--scale", type=float, default=1.75, help="of the panels")
    args = parser.parse_args()

    pixels = load_image(args.image)
    height, width = pixels.shape[:2]
    panels = [(pixels, caption_of(args.image))]
    codec = Codec(args.model)
    for quality in args.quality:
        data = codec.encode(pixels, quality=quality)
        made = [("glc", data, codec.decode(data))]
        if args.against and (rival := best_within(pixels, args.against, len(data))):
            made.append((args.against.upper(), rival.data, rival.pixels))
        for name, file, decoded in made:
            bpp = 8 * len(file) / (height * width)
            caption = f"{name}: {len(file):,} bytes, {bpp:.3f} bpp, {psnr(pixels, decoded):.1f} dB"
            panels.append((decoded, caption))

    box = args.crop or (0, 0, width, height)
    w, h = (round(args.scale * (box[k + 2] - box[k])) for k in range(2))
    sheet = Image.new("RGB", (len(panels) * (w + GAP) - GAP, h + BAR), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (panel, caption) in enumerate(panels):
        left = number * (w + GAP)
        part = Image.fromarray(np.asarray(panel)).crop(box)
        resized = part.resize((w, h), Image.Resampling.LANCZOS)
        sheet.paste(resized, (left, BAR))
        draw.text((left + 4, 6), caption, fill="black", font=ImageFont.load_default(18))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out, optimize=True)
    print(f"{args.out}: {sheet.width} x {sheet.height}")


def caption_of(original: Path) -> str:
    """Say what file the original is."""
    with Image.open(original) as picture:
        return f"original: {original.stat().st_size:,} bytes ({picture.format})"


if __name__ == "__main__":
    main()
