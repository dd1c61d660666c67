# SPDX-License-Identifier: Apache-2.0
"""What holds for the package as a whole, each checked in a fresh interpreter."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import glc

ROOT = Path(__file__).resolve().parent.parent


def run_python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env},
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "modules",
    [
        "glc",
        "glc.rans",
        "glc.cdf",
        "glc.bitstream",
        "glc.errors",
        "glc.rans, glc.cdf",
        "glc.compat.compressai",
        "glc.pil",
    ],
)
def test_import_leaves_torch_out(modules):
    done = run_python(f"import {modules}, sys; assert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_the_coder_works_with_torch_uninstalled():
    code = """
import sys
sys.modules["torch"] = None  # any import of it raises
import numpy as np
from glc import rans
tables = rans.TableSet.from_freqs(np.array([[128, 64, 64], [200, 50, 6]]), bits=8)
symbols = np.array([0, 1, 2, 0, 0, 1], np.int32)
rows = np.array([0, 0, 0, 1, 1, 1], np.uint8)
data = rans.encode(symbols, rows, tables)
assert np.array_equal(rans.decode(data, rows, tables), symbols)
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_sources_without_a_build_say_how_to_get_one(tmp_path):
    sources = tmp_path / "glc"
    sources.mkdir()
    for name in ("__init__.py", "errors.py"):
        shutil.copy(ROOT / "glc" / name, sources)
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import glc"],  # without site-packages' own
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={},
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith(f"ModuleNotFoundError: glc: {sources} has no native module")
    assert "pip install -e ." in told


def test_public_names_resolve_lazily():
    code = """
import sys, glc
assert "glc.models" not in sys.modules and "glc.codec" not in sys.modules
for name in glc.__all__:
    assert getattr(glc, name) is not None, name
assert "torch" in sys.modules
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["evaluation", "losses", "models", "ops"])
def test_public_packages_show_what_they_hold(package):
    code = f"""
import glc
package = glc.{package}
assert package.__all__ and set(package.__all__) <= set(dir(package))
from glc.{package} import *
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        glc.nonsense  # noqa: B018


def test_dir_lists_every_public_name():
    assert set(glc.__all__) <= set(dir(glc))


def test_version_is_the_headers():
    header = (ROOT / "csrc/include/glc/version.h").read_text(encoding="utf-8")
    assert f'kVersion = "{glc.__version__}"' in header


def test_build_info_names_what_runs():
    info = glc.build_info()
    assert info["version"] == glc.__version__
    assert re.match(r"(gcc|clang) \d", str(info["compiler"]))
    assert info["simd"] in {"scalar", *info["cpu_features"]}
    assert isinstance(info["cuda"], bool)


CODE_SOMETHING = """
import glc, hashlib
import numpy as np
from glc import cdf, rans
tables, _ = cdf.canonical()
symbols = np.arange(9999, dtype=np.int32) % 7 - 3
stream = rans.encode(symbols, 50, tables)
assert np.array_equal(rans.decode(stream, 50, tables, count=9999), symbols)
print(glc.build_info()["simd"], hashlib.sha256(stream).hexdigest())
"""


@pytest.mark.parametrize("simd", ["scalar", "neon", "avx2", "avx512"])
def test_simd_can_be_forced(simd):
    """What this CPU has runs and writes the same bytes; what it has not is refused by name."""
    chosen = run_python(CODE_SOMETHING, GLC_SIMD="")
    done = run_python(CODE_SOMETHING, GLC_SIMD=simd)
    if simd == "scalar" or simd in glc.build_info()["cpu_features"]:
        name, digest = done.stdout.split()
        assert name == simd
        assert digest == chosen.stdout.split()[1]
    else:
        assert f"glc.errors.UnsupportedError: simd: GLC_SIMD: this CPU has no {simd}" in done.stderr


@pytest.mark.parametrize("simd", ["mmx", "AVX2", "avx2 ", "scalar,avx2"])
def test_the_coder_refuses_an_unknown_simd(simd):
    done = run_python(CODE_SOMETHING, GLC_SIMD=simd)
    assert "glc.errors.UnsupportedError: simd: GLC_SIMD: expected" in done.stderr
    assert done.stderr.rstrip().endswith(f"got {simd}".rstrip())


@pytest.mark.parametrize("threads", ["0", "257", "-1", "4x", "1e2", "9" * 30])
def test_a_number_of_threads_out_of_range_is_refused_by_name(threads):
    done = run_python(CODE_SOMETHING, GLC_NUM_THREADS=threads)
    told = f"InvalidArgumentError: threads: GLC_NUM_THREADS: expected 1..256, got {threads}\n"
    assert done.stderr.endswith(told)


def test_an_unknown_simd_is_refused_by_name():
    done = run_python("import glc; glc.build_info()", GLC_SIMD="mmx")
    assert done.returncode != 0
    assert "glc.errors.UnsupportedError: simd: GLC_SIMD: expected" in done.stderr


def test_errors_are_also_the_builtin_kind():
    from glc import errors

    assert issubclass(errors.InvalidArgumentError, ValueError)
    assert issubclass(errors.BitstreamError, ValueError)
    assert issubclass(errors.UnsupportedError, NotImplementedError)
    assert issubclass(errors.CudaError, RuntimeError)
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.GlcError)


def test_types_are_shipped():
    package = Path(glc.__file__).parent
    assert (package / "py.typed").is_file()
    stub = (package / "_core.pyi").read_text(encoding="utf-8")
    from glc import _core

    public = [name for name in dir(_core) if not name.startswith("_")]
    missing = [n for n in public if not re.search(rf"\b(def|class) {n}\b|^{n}:", stub, re.M)]
    assert not missing, f"glc/_core.pyi lacks {missing}"


def test_cmakedir_names_the_package_or_says_why_not():
    done = subprocess.run(
        [sys.executable, "-m", "glc", "--cmakedir"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    if done.returncode == 0:
        assert (Path(done.stdout.strip()) / "glcConfig.cmake").is_file()
    else:
        assert done.returncode == 2
        assert done.stderr.startswith("glc: cmakedir: ")
        assert done.stderr.count("\n") == 1
