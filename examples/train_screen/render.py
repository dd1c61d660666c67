# SPDX-License-Identifier: Apache-2.0
"""Draw screens to train on: terminals, source code, interfaces, charts and flat vector art.

    python examples/train_screen/render.py OUT [--count 600] [--seed 0] [--fonts DIR]

OUT is a new folder for PNGs, which `glc finetune OUT RUN` takes. Screen n is a function of seed, n,
fonts and Pillow's version; its words are made up. Fonts are the one that comes with Pillow, DejaVu
where matplotlib is installed, which brings it, and those of `--fonts`.
"""

import argparse
import colorsys
import math
import re
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from glc._ending import ending
from glc.cli.progress import progress_bar
from glc.errors import InvalidArgumentError
from glc.image import save_png

WIDTHS, HEIGHTS, TEXT_SIZES = (400, 900), (300, 700), (9, 28)  # pixels
# value and saturation of ground, panel, ink and accents; beyond 0 and 1 makes these likelier
DARK = ((-0.1, 0.2, -0.3, 0.5), (0.15, 0.4, -0.2, 0.4), (0.8, 1.1, -0.1, 0.1), (0.65, 1, 0.3, 0.9))
LIGHT = ((0.9, 1.1, -0.1, 0.1), (0.8, 1, -0.1, 0.1), (-0.1, 0.25, -0.2, 0.5), (0.35, 0.8, 0.5, 1))
WORDS = """above angle answer apple axis before bottle branch bridge buffer button camera centre
change circle city cloud code colour corner count cup delta dozen early empty equal error exact
file first fold forest frame garden glass group half harbour house index inner input island item
join jump key kind lake layer left length level limit line list lower machine map match mean mix
month name next node north number object order outer page part path piece pixel plane power prize
quick quiet range result right river round row scale seed shape sharp signal size sound speed
square stone storm sum table text thing time token total tower tree type under until user value
vector view water weight while white width wind window word year yellow zero zone""".split()
KEYWORDS = "def return if raise for in import class const else while print let fn true".split()
# what is made up: F a function, I a name, W a word, S a string, D a number
SOURCE = """def F(I, I):|    return F(I) + D|    I = F(I, S)|    if I > D:|        raise F(S)||}
for I in F(I):|# W W W W W W|class F(F):|    I.I = {S: D}|const I = F(I => I.I);|} else {|@I(S)
fn F(I: I) -> I {|    // W W W|while (I < D) {|    print(S, I)|    I[D] += I|let I = [D, D];"""
SHELL = """I@I:~/I$ I -I S|-rw-r--r--  D I  D D:D I.I|[D:D:D] W: W W W W|W W W W W W W W W W W||D%
+--------+--------+|| W |  W  |  D  |  D% [######....] D/D|error: W W I:D|>>> F(I, D)|* W: W W W I
D W W, D W(+), D W(-)|drwxr-xr-x  D I  D D:D I/|W W W (S) W W, W W W.|    W  W  D  D.D  D.D"""
SUFFIXES = (".ttf", ".otf")  # of fonts
MADE_UP = re.compile("[FIWSD]|[a-z]+|[^FIWSDa-z]+")

Font = ImageFont.FreeTypeFont
Colour = tuple[int, int, int]


class Canvas:
    """A picture, its colours and its chance.

    It is drawn `scale` times as large as it will be, since Pillow softens no edges but those of
    letters; coordinates and sizes here are those of the finished picture.
    """

    def __init__(self, rng: Random, fonts: Sequence[Path | None], scale: int) -> None:
        self.rng, self.fonts, self.scale = rng, fonts, scale
        self.width, self.height = rng.randint(*WIDTHS), rng.randint(*HEIGHTS)
        ground, panel, ink, accents = rng.choice((DARK, LIGHT))
        self.ground, self.panel, self.ink = map(self.colour, (ground, panel, ink))
        self.dim = self.colour((0.4, 0.65, -0.1, 0.2))
        self.accents = [self.colour(accents) for _ in range(5)]
        self.image = Image.new("RGB", (self.width * scale, self.height * scale), self.ground)
        self.draw = ImageDraw.Draw(self.image)

    def colour(self, ranges: tuple[float, float, float, float]) -> Colour:
        """One of any hue: least and most value, least and most saturation."""
        v, s = (min(max(self.rng.uniform(*ranges[k : k + 2]), 0), 1) for k in (0, 2))
        r, g, b = (round(255 * part) for part in colorsys.hsv_to_rgb(self.rng.random(), s, v))
        return r, g, b

    def font(self, size: float, *, monospaced: bool = False) -> Font:
        """One of the fonts; not a monospaced one only where there is none."""
        fonts = [path for path in self.fonts if is_monospaced(path)] if monospaced else self.fonts
        return load_font(self.rng.choice(fonts or self.fonts), size * self.scale)

    def text(
        self, x: float, y: float, form: str, font: Font, fill: Colour | None, end: float
    ) -> float:
        """Write what `tokens` makes of a form, highlighted if there is no colour; where it ends."""
        for text, number in tokens(self.rng, form):
            while text and x + font.getlength(text) / self.scale > end:
                text = text[:-1]
            colour = fill or (self.ink, *self.accents)[number]
            self.draw.text((x * self.scale, y * self.scale), text, colour, font)
            x += font.getlength(text) / self.scale
        return x

    def box(
        self, box: Sequence[float], fill: Colour | None, line: Colour | None = None, r: float = 0
    ) -> None:
        """Draw a rectangle, its corners rounded by r, where it has room."""
        if (short := min(box[2] - box[0], box[3] - box[1])) > 3:
            r, s = min(r, short / 3), self.scale
            self.draw.rounded_rectangle([s * v for v in box], r * s, fill, line, s if line else 0)

    def line(self, points: Sequence[float], fill: Colour, width: float) -> None:
        """Draw a line through points: x, y, x, y and so on."""
        width = max(1, round(width * self.scale))
        self.draw.line([self.scale * v for v in points], fill, width, "curve")

    def shade(self, mask: Image.Image, fill: Colour) -> None:
        """Lay a colour over the picture, as strongly as a small picture of one channel says."""
        self.image.paste(fill, mask=mask.resize(self.image.size))


def load_font(path: Path | None, size: float) -> Font:
    """Load a font, Pillow's own if there is no path."""
    font = ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)
    assert isinstance(font, Font)  # Pillow's FreeType is missing otherwise
    return font


def is_monospaced(path: Path | None) -> bool:
    """Say whether letters of a font are equally wide."""
    font = load_font(path, 20)
    return font.getlength("i") == font.getlength("W")


def has_letters(path: Path) -> bool:
    """Say whether a font draws letters: those that it lacks all look the same."""
    try:
        font = load_font(path, 20)
    except OSError as error:
        raise InvalidArgumentError(
            f"render: fonts: expected a font, got {path}: {error}"
        ) from error
    return bytes(font.getmask("n")) != bytes(font.getmask("g"))


def tokens(rng: Random, form: str) -> list[tuple[str, int]]:
    """Make a line up after its form: (text, number of its colour, 0 for plain ink)."""
    made = []
    for part in MADE_UP.findall(form):
        word, other = rng.choice(WORDS), rng.choice(WORDS)
        if part == "D":
            made.append((str(rng.randint(0, 10 ** rng.randint(1, 5))), 1))
        elif part == "S":
            made.append((f'"{word} {other}"', 2))
        elif part in ("F", "I"):
            name = rng.choice((word, f"{word}_{other}", word + other.title(), word.title()))
            made.append((name, 3 if part == "F" else 0))
        elif part == "W":
            made.append((rng.choice((word, word, word.title(), "the")), 0))
        else:
            made.append((part, 4 if part in KEYWORDS else 0))
    return made


def window(canvas: Canvas) -> tuple[float, float, float, float]:
    """Fill the picture, or draw a window with a shadow into it; the box that is left."""
    rng, w, h = canvas.rng, canvas.width, canvas.height
    if rng.random() < 0.5:
        return 0, 0, w, h
    left, top, bar = rng.uniform(10, 60), rng.uniform(10, 60), rng.uniform(18, 40)
    box = (left, top, w - left, h - top)
    canvas.shade(Image.new("L", (1, 1), 255), canvas.colour((0, 1, 0, 0.5)))
    mask = Image.new("L", (w, h))
    ImageDraw.Draw(mask).rectangle(box, rng.randint(50, 220))
    canvas.shade(mask.filter(ImageFilter.GaussianBlur(rng.uniform(2, 20))), (0, 0, 0))
    canvas.box(box, canvas.ground, canvas.dim, rng.choice((0, 6, 10)))
    canvas.box((left, top, w - left, top + bar), canvas.panel, canvas.dim, 6)
    for n in range(3):
        x, y, r = left + bar * (0.6 + 0.6 * n), top + bar / 2, bar / 5
        canvas.box((x - r, y - r, x + r, y + r), canvas.accents[n], None, r)
    canvas.text(w / 2.5, top + bar / 4, "I W", canvas.font(bar / 2.3), canvas.ink, w - left)
    return left + 6, top + bar + 6, w - left - 6, h - top - 6


def draw_lines(canvas: Canvas, forms: str) -> None:
    """Fill a window with lines of those forms."""
    rng, (left, y, right, bottom) = canvas.rng, window(canvas)
    size = rng.uniform(*TEXT_SIZES)
    font, step = canvas.font(size, monospaced=True), size * rng.uniform(1.15, 1.6)
    stop = bottom - rng.choice((0, 0, 0.5)) * (bottom - y)
    numbered, shown = rng.random() < 0.3, forms.replace("\n", "|").split("|")
    while y + step < stop:
        x, form = left + 4, rng.choice(shown)
        if numbered:
            x = canvas.text(x, y, f"{round(y / step):4}  ", font, canvas.dim, right)
        if rng.random() < 0.04:
            canvas.box((x, y, right, y + step), canvas.panel)
        comment = form.strip()[:1] in ("#", "/")
        fill = canvas.dim if comment else rng.choice((None, None, canvas.accents[4]))
        canvas.text(x, y, form, font, fill, right)
        y += step


def draw_terminal(canvas: Canvas) -> None:
    """Lines of a shell."""
    draw_lines(canvas, SHELL)


def draw_source(canvas: Canvas) -> None:
    """Highlighted source code."""
    draw_lines(canvas, SOURCE)


def draw_interface(canvas: Canvas) -> None:
    """A list with a bar above and one beside it, and often a dialog over them."""
    rng, (left, top, right, bottom) = canvas.rng, window(canvas)
    size = rng.uniform(TEXT_SIZES[0], 20)
    font, row = canvas.font(size), size * rng.uniform(1.5, 2.6)
    side, y = left + rng.choice((0, 0.25)) * (right - left), top + 1.4 * row
    canvas.box((left, top, right, y), canvas.panel, canvas.dim)
    x = left + 5
    while (end := x + rng.uniform(2, 14) * size) < right:
        canvas.box((x, top + 4, end, y - 4), canvas.ground, canvas.dim, 5)
        canvas.text(x + 4, top + 0.3 * row, "W W", font, canvas.ink, end - 4)
        x = end + 5
    canvas.box((left, y, side, bottom), canvas.panel)
    columns = sorted(rng.uniform(0.3, 0.95) for _ in range(rng.randint(0, 3)))
    starts = [side + share * (right - side) for share in (0.02, *columns, 1)]
    striped, dented = rng.random() < 0.4, (row - size) / 2
    while y + row < bottom:
        chosen = rng.random() < 0.05
        if chosen or (striped and round(y / row) % 2):
            canvas.box((side, y, right, y + row), canvas.accents[0] if chosen else canvas.panel)
        elif not striped:
            canvas.line((side, y, right, y), canvas.panel, 1)
        icon = (starts[0], y + 0.15 * row, starts[0] + 0.7 * row, y + 0.85 * row)
        canvas.box(icon, rng.choice(canvas.accents), canvas.ink, rng.choice((0, 3, row)))
        canvas.text(icon[2] + 6, y + dented, "W W I.I", font, canvas.ink, starts[1] - 6)
        for x, end in pairwise(starts[1:]):
            canvas.text(x, y + dented, rng.choice(("W W", "D W", "D")), font, canvas.dim, end - 6)
        canvas.text(left + 8, y + dented, "W W", font, canvas.ink, side - 4)
        y += row
    if rng.random() < 0.6:
        draw_dialog(canvas, font, size)


def draw_dialog(canvas: Canvas, font: Font, size: float) -> None:
    """A box of lines, some with a tick before them, and two buttons."""
    rng, w, h = canvas.rng, canvas.width, canvas.height
    x, y = rng.uniform(0.05, 0.5) * w, rng.uniform(0.05, 0.4) * h
    right, bottom = x + rng.uniform(15, 26) * size, y + rng.uniform(8, 16) * size
    canvas.box((x, y, right, bottom), canvas.ground, canvas.dim, rng.choice((0, 8)))
    for n in range(int((bottom - y) / size / 1.6) - 2):
        line = y + size * (0.6 + 1.6 * n)
        if ticked := rng.random() < 0.3:
            box = (x + size, line, x + 2 * size, line + size)
            canvas.box(box, rng.choice(canvas.accents), canvas.ink, rng.choice((3, size)))
        start = x + (2.5 if ticked else 1) * size
        canvas.text(start, line, "W W W W W W W", font, canvas.ink, right - size)
    for n, fill in enumerate((canvas.accents[0], canvas.panel)):
        end = right - (0.5 + 6.5 * n) * size
        canvas.box((end - 6 * size, bottom - 2 * size, end, bottom - 4), fill, canvas.dim, 5)
        canvas.text(end - 5 * size, bottom - 1.8 * size, "W", font, canvas.ink, end)


def draw_chart(canvas: Canvas) -> None:
    """Axes, a grid, curves or bars, and a legend."""
    rng, w, h = canvas.rng, canvas.width, canvas.height
    size = rng.uniform(TEXT_SIZES[0], 18)
    font = canvas.font(size)
    left, top, right, bottom = 5 * size, 2.5 * size, w - 2 * size, h - 3.5 * size
    across, up, grid = rng.randint(4, 9), rng.randint(4, 8), rng.random() < 0.7
    one, other = (rng.choice((0.05, 0.2, 0.5, 2, 10, 25)) for _ in range(2))
    canvas.text(w / 4, size / 2, "W W W I W", canvas.font(1.2 * size), canvas.ink, w)
    for n in range(across + 1):
        x = left + (right - left) * n / across
        canvas.line((x, top if grid else bottom, x, bottom + 4), canvas.panel, 1)
        canvas.text(x - size, bottom + 6, f"{n * one:.4g}", font, canvas.ink, w)
    for n in range(up + 1):
        y = bottom + (top - bottom) * n / up
        canvas.line((left - 4, y, right if grid else left, y), canvas.panel, 1)
        canvas.text(2.4 * size, y - size / 2, f"{n * other:.4g}", font, canvas.ink, left)
    bars, count, width = rng.random() < 0.35, rng.randint(1, 8), rng.uniform(1, 3.5)
    colours = [canvas.colour((0.4, 0.95, 0.4, 1)) for _ in range(count)]
    for k, colour in enumerate(colours):
        first, last, bend, rough = (rng.uniform(0, most) for most in (1, 1, 2, 0.2))
        points: list[float] = []
        steps = across if bars else rng.choice((across, 3 * across, 40))
        for n in range(steps):
            part = first + (last - first) * (n / steps) ** bend + rng.uniform(-rough, rough)
            part = min(max(part, 0.02), 1)
            x, y = left + (right - left) * (n + 0.1) / steps, bottom + (top - bottom) * part
            if bars:
                wide = 0.8 * (right - left) / steps / count
                canvas.box((x + k * wide, y, x + (k + 1) * wide, bottom), colour)
            elif steps < 40:
                canvas.box((x - 3, y - 3, x + 4, y + 4), colour, None, rng.choice((0, 4)))
            points += [x, y]
        if not bars:
            canvas.line(points, colour, width)
    canvas.box((left, top, right, bottom), None, canvas.ink)
    x, y = rng.uniform(left, right - 12 * size), rng.uniform(top, max(top, bottom - 12 * size))
    canvas.box((x, y, x + 12 * size, y + (1.4 * count + 0.6) * size), canvas.ground, canvas.dim, 4)
    for n, colour in enumerate(colours):
        line = y + (1.4 * n + 0.4) * size
        canvas.line((x + 6, line + size / 2, x + 2.5 * size, line + size / 2), colour, width)
        canvas.text(x + 3 * size, line, "I-D W", font, canvas.ink, x + 12 * size)


def draw_art(canvas: Canvas) -> None:
    """Flat shapes, one in another, on a gradient."""
    rng, w, h = canvas.rng, canvas.width, canvas.height
    if rng.random() < 0.6:
        slope = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180)))
        canvas.shade(slope, canvas.colour((0.2, 1, 0, 1)))
    width, ink = rng.choice((0, 1, 2.5, 5)), rng.choice(((0, 0, 0), canvas.ink))
    for _ in range(rng.randint(5, 60)):
        x, y, size, turn = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(8, 130), rng.random()
        corners, lobes = rng.choice(((3, 0), (4, 0), (6, 0), (10, 5), (60, 5), (60, 3), (60, 0)))
        dent, stretch = rng.uniform(0, 0.45), rng.uniform(0.4, 1.6)
        for part in range(rng.choice((1, 1, 2, 4))):
            points = []
            for n in range(corners):
                angle = 2 * math.pi * (n / corners + turn)
                radius = size * (1 - 0.22 * part) * (1 + dent * math.cos(lobes * angle))
                points += [x + radius * math.cos(angle), y + stretch * radius * math.sin(angle)]
            canvas.draw.polygon([canvas.scale * v for v in points], canvas.colour((0.1, 1, 0, 1)))
            if width:
                canvas.line([*points, *points[:4]], ink, width)


KINDS = (draw_terminal, draw_source, draw_interface, draw_chart, draw_art)


def render(number: int, seed: int, fonts: Sequence[Path | None]) -> np.ndarray:
    """Draw a screen, [h, w, 3] uint8; kinds take turns, None among the fonts is Pillow's own."""
    rng, draw = Random(f"{seed} {number}"), KINDS[number % len(KINDS)]
    scale = 3 if draw in (draw_chart, draw_art) else rng.choice((1, 1, 2))
    canvas = Canvas(rng, fonts, scale)
    draw(canvas)
    return np.asarray(canvas.image.reduce(scale))


def find_fonts(folder: Path | None) -> list[Path | None]:
    """Fonts that are there: Pillow's own, DejaVu of matplotlib, and those of a folder."""
    paths: list[Path] = []
    if find_spec("matplotlib"):
        import matplotlib

        paths += sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob("DejaVu*.ttf"))
    if folder is not None:
        more = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not more:
            raise InvalidArgumentError(
                f"render: fonts: expected a folder with {' or '.join(SUFFIXES)}, got {folder}"
            )
        paths += more
    return [None, *(path for path in paths if has_letters(path))]


def main() -> None:
    """Draw the screens; see the module."""
    parser = argparse.ArgumentParser(description="Draw screens to train on.")
    parser.add_argument("out", type=Path, help="new folder for their PNGs")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fonts", type=Path, help="folder of more fonts")
    args = parser.parse_args()
    with ending():
        if args.count < 1:
            raise InvalidArgumentError(f"render: count: expected at least 1, got {args.count}")
        fonts = find_fonts(args.fonts)
        if args.out.exists() and any(args.out.iterdir()):
            raise InvalidArgumentError(
                f"render: out: expected a new or empty folder, got {args.out}"
            )
        args.out.mkdir(parents=True, exist_ok=True)
        with progress_bar("render") as progress:
            for number in range(args.count):
                progress(f"screen {number}", number / args.count)
                pixels = render(number, args.seed, fonts)
                save_png(args.out / f"screen-{number:06d}.png", pixels)
        print(f"{args.out}: {args.count} screens, {len(fonts)} fonts")


if __name__ == "__main__":
    main()
