# SPDX-License-Identifier: Apache-2.0
"""The core outside Python: the commands of docs/embedding.md, and the C library through ctypes."""

from __future__ import annotations

import ctypes
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import glc
from glc import rans
from glc.codec import Codec, Restored
from glc.defaults import MAX_PIXELS
from glc.errors import BitstreamError, GlcError, InvalidArgumentError, UnsupportedError

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "embedding.md"
# .ci/run runs the others: one needs an installed wheel, one builds everything twice more
RUN_HERE = ("prefix", "cc", "pictures")
RUN_BY_CI = ("wheel", "subdirectory")

tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
needs_compilers = pytest.mark.skipif(
    not all(shutil.which(tool, path=tools) for tool in ("cmake", "c++", "cc", "bash")),
    reason="needs bash, cmake, cc and c++",
)


def commands(name: str) -> str:
    found = re.search(
        rf"^<!-- ci:{name} -->\n```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S
    )
    assert found, f"docs/embedding.md: no commands after the marker ci:{name}"
    return found[1]


def run_commands(name: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(name)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": tools},
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_toy_codec_in_python_takes_any_int32() -> None:
    """As it says: differences that no int32 holds wrap, and so do their sums."""
    toy = runpy.run_path(str(ROOT / "examples" / "embed_rans.py"))
    ends = np.iinfo(np.int32)
    for samples in ([], [7], [ends.max, ends.min, 0, ends.min] * 300):
        array = np.array(samples, np.int32)
        np.testing.assert_array_equal(toy["restore"](toy["compress"](array)), array)


def test_every_command_is_run() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert sorted(re.findall(r"<!-- ci:(\w+) -->", text)) == sorted(RUN_HERE + RUN_BY_CI)
    assert text.count("```bash") == len(RUN_HERE + RUN_BY_CI)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for name in RUN_BY_CI:
        assert f"page_commands docs/embedding.md {name}" in ci


@needs_compilers
@pytest.mark.parametrize(
    ("compiler", "wide"), [("MSVC", "ON"), ("NVHPC", "ON"), ("IntelLLVM", "ON"), ("GNU", "OFF")]
)
def test_a_compiler_that_would_not_do_is_refused(tmp_path: Path, compiler: str, wide: str) -> None:
    """Before it compiles: other bits, or errors of the compiler's own."""
    answer = [  # in place of what CMake finds out
        "-DCMAKE_CXX_COMPILER_FORCED=ON",
        f"-DCMAKE_CXX_COMPILER_ID={compiler}",
        f"-DGLC_HAVE_INT128={wide}",
    ]
    done = subprocess.run(
        ["cmake", "-S", ROOT, "-B", tmp_path, "-DGLC_CUDA=OFF", *answer],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": tools},
        check=False,
        timeout=120,
    )
    expected = "glc: expected GCC or Clang for a machine with 128-bit integers, got " + compiler
    assert done.returncode != 0
    assert expected in " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the sources after the `prefix` commands, and what these printed."""
    folder = tmp_path_factory.mktemp("embedding")
    for file in ("CMakeLists.txt", "LICENSE"):
        shutil.copy(ROOT / file, folder)
    for part in ("cmake", "csrc", "examples"):
        shutil.copytree(ROOT / part, folder / part)
    return folder, run_commands("prefix", folder)


@needs_compilers
def test_both_examples_run_against_an_installation(installed: tuple[Path, str]) -> None:
    _, printed = installed
    assert re.search(r"^glc \S+: 20000 symbols in \d+ bytes", printed, re.M)
    assert re.search(r"^glc \S+: 50000 symbols in \d+ bytes", printed, re.M)
    assert len(re.findall(r"^half of the stream: rans: .* \(at byte \d+\)$", printed, re.M)) == 2


@needs_compilers
def test_a_c_program_needs_no_cmake(installed: tuple[Path, str]) -> None:
    assert "50000 symbols" in run_commands("cc", installed[0])


@needs_compilers
def test_programs_without_python_draw_the_same_picture(installed: tuple[Path, str]) -> None:
    folder = installed[0]
    run_commands("pictures", folder)
    expected = glc.decode((folder / "build" / "photo.glc").read_bytes())
    for name in ("photo.ppm", "again.ppm"):
        with Image.open(folder / "build" / name) as picture:
            np.testing.assert_array_equal(np.asarray(picture), expected)


def shared_library(folder: Path, name: str) -> ctypes.CDLL:
    suffix = "dylib" if sys.platform == "darwin" else "so"
    return ctypes.CDLL(str(folder / "build" / "prefix" / "lib" / f"libglc_{name}.{suffix}"))


PROGRESS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_double)


class Options(ctypes.Structure):
    _fields_ = (
        ("max_pixels", ctypes.c_uint64),
        ("until", ctypes.c_int32),
        ("partial", ctypes.c_int32),
        ("progress", PROGRESS),
        ("user", ctypes.c_void_p),
    )


class EncodeOptions(ctypes.Structure):
    _fields_ = (
        ("quality", ctypes.c_double),
        ("target_bytes", ctypes.c_uint64),
        ("tile", ctypes.c_uint32),
        ("progress", PROGRESS),
        ("user", ctypes.c_void_p),
    )


class NativeCodec:
    """libglc_codec as a program would call it."""

    def __init__(self, folder: Path, model: bytes) -> None:
        self.library = shared_library(folder, "codec")
        for name in ("last_error", "file_data"):
            getattr(self.library, f"glc_codec_{name}").restype = ctypes.c_void_p
        self.library.glc_codec_file_size.restype = ctypes.c_size_t
        self.encoder, self.decoder = ctypes.c_void_p(), ctypes.c_void_p()
        for name in ("encoder", "decoder"):
            create = getattr(self.library, f"glc_codec_{name}_create")
            size = ctypes.c_size_t(len(model))
            self.check(create(model, size, ctypes.byref(getattr(self, name))))
        self.told: list[float] = []  # by the last call
        self.progress = PROGRESS(lambda _user, done: self.told.append(done) or 0)

    def check(self, status: int) -> None:
        kinds = {1: InvalidArgumentError, 2: BitstreamError, 3: UnsupportedError}
        if status:
            text = ctypes.string_at(self.library.glc_codec_last_error()).decode()
            raise kinds[status](text)

    def encode(
        self, pixels: np.ndarray, quality: float = 2.0, target_bytes: int = 0, tile: int = 0
    ) -> bytes:
        height, width = pixels.shape[:2]
        file = ctypes.c_void_p()
        self.told.clear()
        options = EncodeOptions(quality, target_bytes, tile, self.progress)
        data = ctypes.c_void_p(pixels.ctypes.data)
        sides = ctypes.c_uint32(width), ctypes.c_uint32(height)
        coded = self.library.glc_codec_encode(
            self.encoder, data, *sides, ctypes.byref(options), ctypes.byref(file)
        )
        self.check(coded)
        size = self.library.glc_codec_file_size(file)
        out = ctypes.string_at(self.library.glc_codec_file_data(file), size)
        self.library.glc_codec_file_free(file)
        return out

    def restore(self, data: bytes, until: int = 4, partial: bool = False) -> Restored:
        self.told.clear()
        options = ctypes.byref(Options(MAX_PIXELS, until, int(partial), self.progress))
        file = data, ctypes.c_size_t(len(data)), options
        width, height = ctypes.c_uint32(), ctypes.c_uint32()
        self.check(self.library.glc_codec_size(*file, ctypes.byref(width), ctypes.byref(height)))
        pixels = np.empty((height.value, width.value, 3), np.uint8)
        room = ctypes.c_void_p(pixels.ctypes.data), ctypes.c_size_t(pixels.size)
        restored = (ctypes.c_int32 * 2)()
        self.check(self.library.glc_codec_decode(self.decoder, *file, *room, restored))
        return Restored(pixels, restored[0], bool(restored[1]))


def require_same(found: Callable[[], Any], expected: Callable[[], Any]) -> Any:
    """Both give the same, or refuse with the same words; returns what they gave, or None."""
    try:
        wanted = expected()
    except GlcError as error:
        with pytest.raises(type(error), match=f"^{re.escape(str(error))}$"):
            found()
        return None
    assert found() == wanted
    return wanted


def pictures(photo: np.ndarray) -> Iterator[np.ndarray]:
    """A photograph's cut, thin ones, noise, and what no photograph is like."""
    noise = np.random.default_rng(2).integers(0, 256, (70, 129, 3)).astype(np.uint8)
    stripes = np.tile(np.array([0, 255], np.uint8)[None, :, None], (140, 60, 3))
    yield from (photo, photo[:1, :1], photo[:130, :3], noise, stripes)


def narrow(folder: Path) -> Codec:
    """The codec of a model whose range most pictures leave, here and there or everywhere."""
    import torch

    from glc.models import GLC

    model = GLC.from_pretrained(folder)
    bounds = model.latent_range
    for each in bounds.buffers():
        each[..., 0, :], each[..., 1, :] = -1e4, 1e4
    random = torch.Generator().manual_seed(3)
    size = torch.tensor([0.25, 1.0, 1.0, 2.0])[:, None, None]  # about the largest y of each level
    share = 0.7 + 0.4 * torch.rand(bounds.y.shape, generator=random)
    bounds.y.copy_(torch.tensor([[-1.0], [1.0]]) * size * share)
    bounds.l_hat.copy_(torch.tensor([[-0.75], [0.75]]))
    return Codec(model)


@needs_compilers
@pytest.mark.parametrize("model", ["glc-image-small", "tiny", "narrow"])
def test_c_and_python_code_the_same_pictures(
    installed: tuple[Path, str], model: str, photo: np.ndarray, tiny_folder: Path
) -> None:
    """Files and pictures, and what they refuse, word for word."""
    data = b""
    if model == "narrow":
        codec = narrow(tiny_folder)
    else:
        codec = Codec(tiny_folder if model == "tiny" else model)
    native = NativeCodec(installed[0], codec.export(encoder=True))
    asked: list[dict[str, Any]] = [
        *({"quality": quality} for quality in (0.0, 1.4, 3.0)),
        *({"target_bytes": n} for n in (60, 700)),
        {"tile": 64},
        {"tile": 60},
        {"quality": 3.1},
    ]
    for picture in pictures(photo):
        pixels = np.ascontiguousarray(picture)
        for options in asked:
            coded = require_same(
                partial(native.encode, pixels, **options), partial(codec.encode, pixels, **options)
            )
            if coded is None:
                continue
            data = coded
            cut = data[: len(data) * 2 // 3]
            for file in (data, cut, data[:20], data[:-2] + b"ab"):
                for reading in ({}, {"until": 2}, {"partial": True}):
                    require_same(
                        partial(restored_by, native, file, **reading),
                        partial(restored_by, codec, file, **reading),
                    )
    require_same(
        partial(restored_by, native, data, until=5), partial(restored_by, codec, data, until=5)
    )


@needs_compilers
@pytest.mark.parametrize("tile", [0, 64])
def test_c_tells_of_the_progress_that_python_tells_of(
    installed: tuple[Path, str], photo: np.ndarray, tiny_folder: Path, tile: int
) -> None:
    """And of more: the entropy path's networks one by one."""
    codec = Codec(tiny_folder)
    native = NativeCodec(installed[0], codec.export(encoder=True))
    pixels = np.ascontiguousarray(photo)
    told: list[float] = []

    def require_told() -> None:
        assert told[0] == native.told[0] == 0.0
        assert told[-1] == native.told[-1] == 1.0
        assert native.told == sorted(native.told)
        assert {round(done, 9) for done in told} < {round(done, 9) for done in native.told}
        told.clear()

    data = codec.encode(pixels, tile=tile or None, progress=lambda _, done: told.append(done))
    assert native.encode(pixels, tile=tile) == data
    require_told()
    codec.decode(data, progress=lambda _, done: told.append(done))
    native.restore(data)
    require_told()


@needs_compilers
def test_c_writes_no_file_that_shows_nothing(
    installed: tuple[Path, str], photo: np.ndarray, tiny_folder: Path
) -> None:
    import torch

    from glc.models import GLC

    model = GLC.from_pretrained(tiny_folder)
    with torch.no_grad():
        model.latent_decoder.blocks[0].weight.fill_(torch.finfo(torch.float32).max)
    native = NativeCodec(installed[0], Codec(model).export(encoder=True))
    with pytest.raises(InvalidArgumentError, match="picture: expected one whose file"):
        native.encode(photo)


def restored_by(codec: NativeCodec | Codec, file: bytes, **reading: Any) -> tuple[bytes, int, bool]:
    restored = codec.restore(file, **reading)
    return restored.pixels.tobytes(), restored.n_parts, restored.verified


PARENT = """
cmake_minimum_required(VERSION 3.20)
project(parent LANGUAGES CXX)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
add_compile_options(-ffast-math)
add_subdirectory("{root}" glc)
"""


@needs_compilers
def test_flags_of_the_project_around_it_leave_numbers_and_exceptions_alone(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(PARENT.format(root=ROOT.as_posix()))
    build = tmp_path / "build"
    flags = "-DCMAKE_CXX_FLAGS=-funsafe-math-optimizations -ffinite-math-only -fno-exceptions"
    subprocess.run(
        ["cmake", "-S", tmp_path, "-B", build, "-G", "Unix Makefiles", flags],
        env={**os.environ, "PATH": tools},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=120,
    )
    compilations = json.loads((build / "compile_commands.json").read_text())
    of_cdf = next(c for c in compilations if c["file"].endswith("rans/cdf.cpp"))["command"]
    assert "-ffast-math" in of_cdf
    assert "-fno-exceptions" in of_cdf
    command = shlex.split(of_cdf)
    command[command.index("-o") :] = ["-E", "-dM", "-x", "c++", os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    macros = done.stdout.splitlines()
    assert "#define __EXCEPTIONS 1" in macros
    assert "#define __FINITE_MATH_ONLY__ 0" in macros
    assert "#define __FAST_MATH__ 1" not in macros


UNLOAD = """
import _ctypes, ctypes, sys

library = ctypes.CDLL(sys.argv[1])
assert library.glc_rans_set_threads(4) == 0
data = bytes(range(251)) * 4000  # enough for segments, so for threads
out = ctypes.create_string_buffer(len(data) + 64)
size = ctypes.c_size_t()
source = data, ctypes.c_size_t(len(data)), ctypes.c_size_t(65536)
room = out, ctypes.c_size_t(len(out)), ctypes.byref(size)
assert library.glc_rans_encode_bytes(*source, *room) == 0
_ctypes.dlclose(library._handle)
assert sys.argv[1] in open("/proc/self/maps").read(), "unmapped"
"""


@needs_compilers
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/maps")
def test_the_library_outlives_dlclose_as_its_threads_do(installed: tuple[Path, str]) -> None:
    library = (installed[0] / "build" / "prefix" / "lib" / "libglc_rans.so").resolve()
    subprocess.run([sys.executable, "-c", UNLOAD, str(library)], check=True, timeout=60)


class Rows(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("type", ctypes.c_int32), ("row", ctypes.c_int32))


@needs_compilers
def test_c_and_python_write_the_same_streams(installed: tuple[Path, str]) -> None:
    library = shared_library(installed[0], "rans")
    library.glc_rans_last_error.restype = ctypes.c_char_p
    size_t = ctypes.c_size_t

    rng = np.random.default_rng(3)
    counts = np.array([[5, 0, 90, 400, 77, 1], [1, 2, 3, 4, 5, 6]], np.uint64)
    n_bins = np.array([6, 6], np.int32)
    offsets = np.array([-2, 0], np.int32)
    rows = rng.integers(0, 2, 5000).astype(np.uint8)
    symbols = (rng.integers(0, 5, 5000) + offsets[rows]).astype(np.int32)
    symbols[::500] = -123456

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    tables = ctypes.c_void_p()
    made = library.glc_rans_tables_from_counts(
        *(pointer(counts), size_t(12), pointer(n_bins), pointer(offsets), size_t(2)),
        *(ctypes.c_int32(12), ctypes.c_int32(1), ctypes.byref(tables)),
    )
    assert made == 0, library.glc_rans_last_error()
    library.glc_rans_encode_bound.restype = size_t
    room = np.empty(library.glc_rans_encode_bound(size_t(5000), tables, size_t(0)), np.uint8)
    size = size_t()
    coded = library.glc_rans_encode(
        *(pointer(symbols), size_t(5000), Rows(rows.ctypes.data, 1, 0), tables),
        *(ctypes.c_int32(0), size_t(0), pointer(room), size_t(room.size), ctypes.byref(size)),
    )
    assert coded == 0, library.glc_rans_last_error()
    ours = rans.TableSet.from_freqs(counts, offsets, bits=12, escape=True)
    assert room[: size.value].tobytes() == rans.encode(symbols, rows, ours)
    library.glc_rans_tables_free(tables)
