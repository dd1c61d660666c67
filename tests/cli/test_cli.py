# SPDX-License-Identifier: Apache-2.0
"""The `glc` command: right result, or one clear line on stderr, exit code 2 and nothing written."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from glc.cli import app
from glc.cli.progress import progress_bar
from glc.codec import Codec
from glc.image import load_image
from tests.cli.refusal import Run, assert_refused


def test_encode_decode(run: Run, picture: Path, tmp_path: Path) -> None:
    glc_file, png = tmp_path / "a.glc", tmp_path / "a.png"
    result = run("encode", picture, glc_file, "--quality", 1)
    assert result.exit_code == 0, result.output
    assert f"{glc_file.stat().st_size} bytes" in result.stdout
    assert "90x70" in result.stdout
    assert "quality 1.00" in result.stdout
    result = run("decode", glc_file, png)
    assert result.exit_code == 0, result.output
    with Image.open(png) as restored:
        assert restored.size == (90, 70)
        assert restored.mode == "RGB"
    assert sorted(os.listdir(tmp_path)) == ["a.glc", "a.png", "photo.png"]


def test_target_size(run: Run, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.glc"
    size = len_of(run, picture, tmp_path / "q1.glc", quality=1)
    assert run("encode", picture, out, "--target-bytes", size).exit_code == 0
    assert out.stat().st_size <= size
    bpp = 8 * size / (90 * 70) + 1e-9
    assert run("encode", picture, out, "--target-bpp", bpp, "--overwrite").exit_code == 0
    assert out.stat().st_size <= size


def len_of(run: Run, picture: Path, out: Path, quality: float) -> int:
    assert run("encode", picture, out, "--quality", quality).exit_code == 0
    return out.stat().st_size


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--quality", "3.5"], "quality"),
        (["--quality", "-1"], "quality"),
        (["--quality", "nan"], "quality"),
        (["--quality", "high"], "quality"),
        (["--target-bytes", "10"], "target_bytes"),
        (["--target-bpp", "0"], "target_bpp"),
        (["--target-bpp", "nan"], "target_bpp"),
        (["--quality", "1", "--target-bytes", "5000"], "one of"),
        (["--device", "abacus"], "device"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_bad_requests(
    run: Run, picture: Path, tmp_path: Path, options: list[str], word: str
) -> None:
    assert_refused(run("encode", picture, tmp_path / "a.glc", *options), word)
    assert os.listdir(tmp_path) == ["photo.png"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 3000, b"no picture at all\n" * 9, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"GLC"],
)
def test_what_is_no_picture(run: Run, tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    assert_refused(run("encode", bad, tmp_path / "a.glc"), "bad.png")
    assert os.listdir(tmp_path) == ["bad.png"]


def test_truncated_picture(run: Run, picture: Path, tmp_path: Path) -> None:
    picture.write_bytes(picture.read_bytes()[:-4000])
    assert_refused(run("encode", picture, tmp_path / "a.glc"), "photo.png")
    assert os.listdir(tmp_path) == ["photo.png"]


def test_picture_of_200_megapixels(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (20000, 10000)).save(path)
    assert_refused(run("encode", path, tmp_path / "a.glc"), "pixels")
    assert os.listdir(tmp_path) == ["large.png"]


def test_missing_input(run: Run, tmp_path: Path) -> None:
    assert_refused(run("encode", tmp_path / "a.png", tmp_path / "a.glc"), "no such file")
    assert_refused(run("encode", tmp_path, tmp_path / "a.glc"), "directory")
    (tmp_path / "old.glc").touch()
    refused = run("encode", tmp_path / "a.png", tmp_path / "old.glc", "--overwrite")
    assert_refused(refused, "read: input: ", "no such file")
    for verb in ("info", "verify"):
        assert_refused(run(verb, tmp_path / "a.glc"), "no such file")
    assert_refused(run("decode", tmp_path / "a.glc", tmp_path / "a.png"), "no such file")


def test_output_that_cannot_be_written(run: Run, picture: Path, coded: Path) -> None:
    folder = picture.parent
    for out in (folder / "absent" / "a.glc", folder, Path("/proc/a.glc")):
        assert_refused(run("encode", picture, out))
    for out in (folder / "absent" / "a.png", Path("/proc/a.png")):
        assert_refused(run("decode", coded, out))
    assert_refused(run("decode", coded, folder / "a.jpg"), ".png")
    assert sorted(os.listdir(folder)) == ["photo.glc", "photo.png"]


def test_existing_output(run: Run, picture: Path, coded: Path) -> None:
    before = coded.read_bytes()
    assert_refused(run("encode", picture, coded, "--quality", 0), "--overwrite")
    assert coded.read_bytes() == before
    assert run("encode", picture, coded, "--quality", 0, "--overwrite").exit_code == 0
    assert coded.read_bytes() != before
    original = picture.read_bytes()
    assert_refused(run("decode", coded, picture), "--overwrite")
    assert picture.read_bytes() == original


@pytest.mark.parametrize("verb", ["decode", "info", "verify"])
def test_damaged_files(run: Run, coded: Path, verb: str) -> None:
    whole = coded.read_bytes()
    damaged = coded.parent / "damaged.glc"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (b"", whole[:5], whole[:-1], whole + b"x", bytes(flipped), b"PNG" + whole[3:]):
        damaged.write_bytes(content)
        out = [coded.parent / "a.png"] if verb == "decode" else []
        assert_refused(run(verb, damaged, *out))
        assert not (coded.parent / "a.png").exists()


@pytest.mark.parametrize("verb", ["decode", "info", "verify"])
def test_wrong_model(run: Run, coded: Path, other_tiny_folder: Path, verb: str) -> None:
    out = [coded.parent / "a.png"] if verb == "decode" else []
    assert_refused(run(verb, coded, *out, model=other_tiny_folder), "model")
    assert not (coded.parent / "a.png").exists()


def test_unknown_model(run: Run, picture: Path, tmp_path: Path) -> None:
    assert_refused(run("encode", picture, tmp_path / "a.glc", model=Path("nothing")), "nothing")


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {}), ("L", {}), ("1", {}), ("P", {}), ("RGBA", {}), ("LA", {}), ("I;16", {})],
)
def test_every_kind_of_png(run: Run, tmp_path: Path, mode: str, options: dict) -> None:
    path = tmp_path / "in.png"
    picture = Image.new(mode, (33, 17)) if mode == "I;16" else Image.new("RGB", (33, 17))
    (picture if picture.mode == mode else picture.convert(mode)).save(path, **options)
    assert run("encode", path, tmp_path / "a.glc").exit_code == 0
    assert run("decode", tmp_path / "a.glc", tmp_path / "a.png").exit_code == 0
    assert load_image(tmp_path / "a.png").shape == (17, 33, 3)


@pytest.mark.parametrize("size", [(1, 1), (4000, 1), (1, 4000)])
def test_extreme_shapes(run: Run, tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "in.png"
    Image.new("RGB", size, (9, 80, 7)).save(path)
    assert run("encode", path, tmp_path / "a.glc").exit_code == 0
    assert run("decode", tmp_path / "a.glc", tmp_path / "a.png").exit_code == 0
    assert load_image(tmp_path / "a.png").shape == (size[1], size[0], 3)


def test_rotated_cmyk_photograph(run: Run, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (40, 20)).save(tmp_path / "in.jpg", exif=exif)
    assert run("encode", tmp_path / "in.jpg", tmp_path / "a.glc").exit_code == 0
    assert "20x40" in run("info", tmp_path / "a.glc").stdout


def test_info_adds_up(run: Run, coded: Path) -> None:
    result = run("info", coded, "--json")
    assert result.exit_code == 0, result.output
    info = json.loads(result.stdout)
    assert sum(info["bits"].values()) == 8 * coded.stat().st_size == 8 * info["file_bytes"]
    assert [part["skip_share"] for part in info["parts"]]
    assert info["portable"] is True
    assert info["version"] == 1
    text = run("info", coded).stdout
    assert f"{coded.stat().st_size} bytes" in text
    assert "not yet portable" not in text
    for word in ("thresholds", "part_3", "coder_overhead", "skipped"):
        assert word in text


def test_partial_pictures_are_labelled(run: Run, coded: Path, tmp_path: Path) -> None:
    cut, png = tmp_path / "cut.glc", tmp_path / "cut.png"
    cut.write_bytes(coded.read_bytes()[:-4])
    assert_refused(run("decode", cut, png), "crc")
    assert not png.exists()
    result = run("decode", cut, png, "--partial")
    assert result.exit_code == 3, result.output
    assert re.search(r"unverified: parts 0\.\.[0-2] of 4", result.stderr)
    assert load_image(png).shape == (70, 90, 3)
    assert run("decode", coded, png, "--partial", "--overwrite").exit_code == 0


@pytest.mark.parametrize(("until", "label"), [("z", "z alone"), ("1", "parts 0..1 of 4")])
def test_until(run: Run, coded: Path, tmp_path: Path, until: str, label: str) -> None:
    result = run("decode", coded, tmp_path / "a.png", "--until", until)
    assert result.exit_code == 3
    assert "verified: " in result.stderr
    assert label in result.stderr
    assert "unverified" not in result.stderr
    assert_refused(run("decode", coded, tmp_path / "b.png", "--until", "5"), "--until")
    assert run("decode", coded, tmp_path / "b.png", "--until", "3").exit_code == 0


def test_keep_metadata(run: Run, picture: Path, tmp_path: Path) -> None:
    coded, png = tmp_path / "a.glc", tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    with Image.open(picture) as plain:
        plain.save(picture, exif=exif)
    for options, name in (([], None), (["--keep-metadata"], "A camera")):
        assert run("encode", picture, coded, "--overwrite", *options).exit_code == 0
        assert run("decode", coded, png, "--overwrite").exit_code == 0
        with Image.open(png) as decoded:
            assert decoded.getexif().get(0x010F) == name
    assert json.loads(run("info", coded, "--json").stdout)["bits"]["chunks"] > 0


def test_tiles(run: Run, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.glc"
    assert run("encode", picture, out, "--tile", 64).exit_code == 0
    assert run("verify", out).exit_code == 0
    assert "tiles of 64 pixels" in run("info", out).stdout
    assert_refused(run("encode", picture, tmp_path / "b.glc", "--tile", 50), "tile")


def test_fit_prior(run: Run, tiny_folder: Path, picture: Path, tmp_path: Path) -> None:
    photos, fitted = tmp_path / "photos", tmp_path / "fitted"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        (photos / name).write_bytes(picture.read_bytes())
    assert_refused(run("fit-prior", tmp_path / "none", fitted), "folder")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("absent")
    for link in (tmp_path / "circle", tmp_path / "nowhere", tmp_path / "nowhere" / "b"):
        for options in ((), ("--overwrite",)):
            assert_refused(run("fit-prior", photos, link, *options), "is a link to what")
    assert_refused(run("fit-prior", photos, tmp_path / ("a" * 300)), "write: output: ", "too long")
    for output in (photos / "a.png", photos / "a.png" / "b"):
        result = run("fit-prior", photos, output, "--overwrite")
        assert_refused(result, "expected a folder that can be made")
    result = run("fit-prior", photos, fitted)
    assert result.exit_code == 0, result.output
    assert "level 3" in result.stdout
    assert_refused(run("fit-prior", photos, fitted), "--overwrite")
    sizes = []  # of four files: one alone may gain or lose a word by chance
    for folder in (tiny_folder, fitted):
        sizes.append(0)
        for quality in range(4):
            made = tmp_path / "a.glc"
            options = ("--quality", quality, "--overwrite")
            assert run("encode", picture, made, *options, model=folder).exit_code == 0
            sizes[-1] += made.stat().st_size
        result = run("decode", made, tmp_path / "a.png", "--overwrite", model=folder)
        assert result.exit_code == 0
    assert sizes[1] < sizes[0], sizes
    assert_refused(run("verify", tmp_path / "a.glc"), "expected", "this model")


def test_fit_prior_takes_listed_names_as_they_are(run: Run, picture: Path, tmp_path: Path) -> None:
    photos, names = tmp_path / "photos", tmp_path / "names.txt"
    photos.mkdir()
    for name in ("a.png", "b 2.png", "c.png"):
        (photos / name).write_bytes(picture.read_bytes())
    names.write_text("a.png\nd 3.png\n")
    assert_refused(run("fit-prior", photos, tmp_path / "fitted", "--list", names), "'d 3.png'")
    names.write_text("a.png\n")
    refused = run("fit-prior", photos, tmp_path / "fitted", "--list", names)
    assert_refused(refused, "expected at least 2 photographs, got 1")
    names.write_bytes(b"\xff\xfe\n")
    refused = run("fit-prior", photos, tmp_path / "fitted", "--list", names)
    assert_refused(refused, "expected a text file")
    names.write_bytes("\ufeffa.png\r\n\r\nb 2.png\r\n".encode())  # as an editor of Windows does
    for name in ("c.png", "d.png"):  # neither listed
        (photos / name).write_text("no picture")
    result = run("fit-prior", photos, tmp_path / "fitted", "--list", names)
    assert "prior from 2 photographs" in result.stdout
    broken = run("fit-prior", photos, tmp_path / "other")
    assert_refused(broken, "c.png", "and 1 more; nothing was done")


def test_encode_spares_pictures(run: Run, picture: Path, tmp_path: Path) -> None:
    before = picture.read_bytes()
    assert_refused(run("encode", picture, picture, "--overwrite"), "expected another file")
    assert picture.read_bytes() == before
    assert_refused(run("encode", picture, tmp_path / "b.JPG"), "ending in .glc")
    assert_refused(
        run("encode", tmp_path / "none.png", tmp_path / "b.glc", "--quality", 9), "0 .. 3"
    )


def test_a_large_file_that_is_none_is_refused_by_its_head(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "large.glc"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse
    for verb in ("info", "verify"):
        assert_refused(run(verb, path), "not a .glc file")
    assert_refused(run("encode", path, tmp_path / "b.glc"), "4294967296 bytes")


def test_what_the_system_refuses_is_one_line(
    run: Run, coded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_args: object, **_options: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("glc.cli.info.json.dumps", no_room)
    assert_refused(run("info", coded, "--json"), "No space left on device")


def test_verify(run: Run, coded: Path) -> None:
    result = run("verify", coded)
    assert result.exit_code == 0
    assert "sound" in result.stdout


def test_export_keeps_the_model(run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    weights = folder / "model.safetensors"
    before = weights.read_bytes()
    assert_refused(run("export", weights, "--overwrite", model=folder), "expected another file")
    assert weights.read_bytes() == before


def test_export_of_a_graph_by_any_case_of_its_ending(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Codec, "export_onnx", lambda _, encoder: b"a graph")
    assert run("export", tmp_path / "a.ONNX").exit_code == 0
    assert (tmp_path / "a.ONNX").read_bytes() == b"a graph"


def test_export(run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.safetensors"
    result = run("export", output)
    assert result.exit_code == 0, result.output
    codec = Codec(tiny_folder)
    assert output.read_bytes() == codec.export()
    size = output.stat().st_size
    assert result.stdout == f"{output}: {size} bytes, model {codec.fingerprint[:2].hex()}\n"
    assert_refused(run("export", output), "--overwrite")
    assert run("export", output, "--encoder", "--overwrite").exit_code == 0
    assert output.read_bytes() == codec.export(encoder=True)
    assert_refused(run("export", tmp_path / "none" / "a", model=tmp_path), "write: output: ")
    assert_refused(run("export", tmp_path / "a", model=tmp_path), "from_pretrained")


def test_demo(run: Run, picture: Path, tmp_path: Path) -> None:
    for _ in range(2):  # its own files may be replaced
        result = run("demo", picture, "--output", tmp_path / "out")
        assert result.exit_code == 0, result.output
    size = (tmp_path / "out" / "photo.glc").stat().st_size
    assert f"{size} bytes" in result.stdout
    for word in ("bpp", "PSNR", "encode", "decode", "photo.png"):
        assert word in result.stdout
    assert load_image(tmp_path / "out" / "photo.png").shape == (70, 90, 3)


def test_demo_spares_the_picture(run: Run, picture: Path) -> None:
    before = picture.read_bytes()
    assert_refused(run("demo", picture, "--output", picture.parent), "another folder")
    assert picture.read_bytes() == before


def test_a_long_name_leaves_room_for_the_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as at a terminal
    monkeypatch.setenv("COLUMNS", "80")
    with progress_bar("eval") as progress:
        progress("imagenet/" + 80 * "x", 0.5)
    shown = capsys.readouterr().err.rpartition("imagenet")[2]
    assert "━" in shown
    assert "0:00:0" in shown


def test_names_in_brackets_are_shown_as_they_are(
    run: Run,
    picture: Path,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = tmp_path / "a [red]" / "b[" / "c]"  # to rich a colour, and the end of none
    shutil.copytree(tiny_folder, model)
    monkeypatch.chdir(tmp_path)
    shown = run("eval", picture.parent, "--quality", "0", model=model.relative_to(tmp_path))
    assert shown.exit_code == 0, shown.output
    assert "a [red]/b[/c], 1 picture, cpu, " in shown.output
    monkeypatch.setenv("FORCE_COLOR", "1")  # as at a terminal
    with progress_bar("eval") as progress:
        progress("a [red]/b[/c].png", 0.5)
    assert "a [red]/b[/c].png" in capfd.readouterr().err


def test_ctrl_c_at_any_moment_of_a_bar_gives_the_cursor_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.live import Live

    def interrupted(live: Live) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("FORCE_COLOR", "1")  # as at a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(Live, "refresh", interrupted)  # the cursor is hidden, the bar not yet there
    with pytest.raises(KeyboardInterrupt), progress_bar("eval"):
        pass
    written = capsys.readouterr().err
    shown, hidden = (written.rfind(f"\x1b[?25{end}") for end in "hl")
    assert shown > hidden >= 0


def test_usage() -> None:
    assert_refused(CliRunner().invoke(app, ["frobnicate"]), "frobnicate")
    assert_refused(CliRunner().invoke(app, ["encode"]), "IN")
    for arguments in ([], ["--help"], ["encode", "--help"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0
        assert "Usage" in result.stdout
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("glc ")


def test_a_bug_shows_a_traceback(run: Run, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_path: object, **_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("glc.image.load_with_metadata", bug)
    assert isinstance(run("encode", picture, picture.parent / "a.glc").exception, ZeroDivisionError)


def test_documented_commands_exist() -> None:
    """Every `glc ...` line of the manual names a verb and options that the command has."""
    manual = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()
    lines = [line.split() for line in manual.splitlines() if line.startswith("glc ")]
    assert len(lines) >= 8
    for _, verb, *words in lines:
        usage = CliRunner().invoke(app, [verb, "--help"]).stdout
        for option in (word for word in words if word.startswith("--")):
            assert option in usage, f"{verb} {option}"
    for verb in re.findall(r"^\| `glc ([\w-]+)", manual, re.M):
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0
