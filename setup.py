# SPDX-License-Identifier: Apache-2.0
"""Ask CMake to build the native module; everything else is in pyproject.toml."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def version() -> str:
    """Read the version from the one place that states it."""
    text = (ROOT / "csrc/include/glc/version.h").read_text(encoding="utf-8")
    match = re.search(r'kVersion = "([0-9.]+)"', text)
    if match is None:
        raise SystemExit("csrc/include/glc/version.h: kVersion not found")
    return match.group(1)


def tool(name: str) -> str | None:
    """Find a build tool beside this interpreter first, then on the PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def is_of_another(cache: Path, generator: str) -> bool:
    """Whether CMake would refuse its cache: of sources that moved, or of another generator."""
    if not cache.is_file():
        return False
    lines = cache.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    kept = {f"CMAKE_HOME_DIRECTORY:INTERNAL={ROOT}", f"CMAKE_GENERATOR:INTERNAL={generator}"}
    return not kept.issubset(lines)


class CMakeBuild(build_ext):
    """Configure and build the `_core` target, then place it where setuptools expects it."""

    def run(self) -> None:
        """Remember what setuptools forgets: whether the build goes into the source tree."""
        self.in_tree = bool(self.inplace)
        super().run()

    def build_extension(self, ext: Extension) -> None:
        """Build `_core`; a wheel also receives the headers, library and CMake package."""
        import pybind11

        cmake = tool("cmake")
        if cmake is None:
            raise SystemExit("glc: cmake not found; `pip install cmake ninja` or use your system's")
        target_dir = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build_dir = ROOT / "build" / f"cmake-{sysconfig.get_config_var('SOABI')}"
        settings = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_INSTALL_LIBDIR": "lib",
            "GLC_PYTHON": "ON",
            "GLC_TESTS": "OFF",
            "GLC_WERROR": os.environ.get("GLC_WERROR", "OFF"),
            "GLC_CUDA": os.environ.get("GLC_CUDA", "AUTO"),
            "GLC_PYTHON_OUTPUT_DIR": target_dir,
            "Python_EXECUTABLE": sys.executable,
            "pybind11_DIR": pybind11.get_cmake_dir(),
        }
        # Always named: the path remembered from an isolated build is gone by the next one.
        ninja = tool("ninja")
        make = ninja or tool("make")
        if make is not None:
            settings["CMAKE_MAKE_PROGRAM"] = make
        generator = "Ninja" if ninja else "Unix Makefiles"
        configure: list[str | Path] = [cmake, "-S", ROOT, "-B", build_dir, "-G", generator]
        if is_of_another(build_dir / "CMakeCache.txt", generator):
            configure.append("--fresh")
        defines = [f"-D{key}={value}" for key, value in settings.items()]
        subprocess.check_call([*configure, *defines])
        jobs = str(os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or os.cpu_count() or 2)
        build = (cmake, "--build", build_dir, "--parallel", jobs)
        subprocess.check_call([*build, "--target", "_core"])
        if not self.in_tree:
            subprocess.check_call([*build, "--target", "glc_core", "glc_rans", "glc_codec"])
            install = (cmake, "--install", build_dir, "--prefix", target_dir, "--component", "dev")
            subprocess.check_call([*install, "--strip"])


setup(
    version=version(),
    ext_modules=[Extension("glc._core", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
