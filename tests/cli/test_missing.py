# SPDX-License-Identifier: Apache-2.0
"""The command where packages that it needs are not installed: what to install, and no traceback."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from glc._missing import PACKAGES, advice
from glc.codec import Codec
from glc.image import load_image

ROOT = Path(__file__).resolve().parents[2]


def glc_without(
    packages: str | tuple[str, ...], *arguments: object
) -> subprocess.CompletedProcess[str]:
    names = (packages,) if isinstance(packages, str) else packages
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({names!r}))\n"  # imports fail as if they were not there
        "from glc.__main__ import main\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "line",
    [
        "encode {picture} {out} --device cuda",
        "encode {picture} {out} --refine 1",
        "eval {folder}",
        "report {folder} {out}",
        "fit-prior {folder} {out}",
        "train stage1 {config}",
        "finetune {folder} {out}",
    ],
)
def test_verbs_name_torch(line: str, picture: Path, tmp_path: Path) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("steps: 1\n")
    places = {"picture": picture, "out": tmp_path / "out", "folder": tmp_path, "config": config}
    done = glc_without("torch", *(word.format(**places) for word in line.split()))
    assert done.returncode == 2
    assert done.stderr == "glc: torch is not installed: pip install torch\n"


def test_coding_needs_no_torch(picture: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """Nor anything that only training or the hub needs; and gives the same file and picture."""
    data = Codec(tiny_folder).encode(picture)
    coded, drawn = tmp_path / "a.glc", tmp_path / "a.png"
    for verb, *arguments in (
        ("encode", picture, coded),
        ("verify", coded),
        ("info", coded),
        ("decode", coded, drawn),
        ("demo", picture, "--output", tmp_path / "demo"),
        ("export", tmp_path / "exported"),
    ):
        done = glc_without(
            ("torch", "yaml", "huggingface_hub"), verb, *arguments, "--model", tiny_folder
        )
        assert done.returncode == 0, done.stderr
    assert coded.read_bytes() == data
    assert np.array_equal(load_image(drawn), Codec(tiny_folder).decode(data))


@pytest.mark.parametrize("package", ["onnx", "torch"])
def test_graphs_name_what_they_need(package: str, tiny_folder: Path, tmp_path: Path) -> None:
    done = glc_without(package, "export", tmp_path / "a.onnx", "--model", tiny_folder)
    assert done.returncode == 2
    assert done.stderr == f"glc: {package} is not installed: pip install {package}\n"
    assert not list(tmp_path.iterdir())


def test_a_damaged_model_is_not_for_torch_to_mend(
    picture: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    done = glc_without("torch", "encode", picture, tmp_path / "a.glc", "--model", folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"glc: from_pretrained: {folder}: expected config.json and")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["torch", "pytest", "pytest_benchmark"])
def test_bench_names_what_it_needs(package: str) -> None:
    done = glc_without(package, "bench", "rans", "--fast")
    assert done.returncode == 2
    name = package.replace("_", "-")
    assert done.stderr == f"glc: {name} is not installed: pip install {name}\n"


@pytest.mark.parametrize("package", ["typer", "rich", "numpy", "PIL"])
def test_other_packages(package: str, coded: Path) -> None:
    done = glc_without(package, "info", coded)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"pip install {PACKAGES[package]}" in done.stderr


def test_a_package_that_lacks_a_part_is_no_missing_package() -> None:
    error = ModuleNotFoundError("No module named 'torch.new'", name="torch.new")
    assert advice(error) == "torch here has no torch.new: pip install --upgrade torch"


def test_training_tells_why_accelerate_is_of_no_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It may be there, and lack something of its own in an old release of another package."""
    from glc.errors import InvalidArgumentError
    from glc.training.config import DataConfig, StageConfig
    from glc.training.distributed import Processes

    monkeypatch.setitem(sys.modules, "accelerate", ModuleType("accelerate"))
    with pytest.raises(InvalidArgumentError, match="got: cannot import name 'Accelerator'"):
        Processes(StageConfig(out=str(tmp_path), data=DataConfig(root=str(tmp_path))))


def test_what_needs_no_torch() -> None:
    assert glc_without("torch", "--version").stdout.startswith("glc ")
    assert "doctor" in glc_without("torch", "--help").stdout


@pytest.mark.parametrize("package", ["torch", "numpy", "PIL"])
def test_doctor_tells_what_is_there_and_what_is_missing(package: str) -> None:
    done = glc_without(package, "doctor")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    place = "torch" if package == "torch" else "models"
    missing = f"MISSING: {package} is not installed"
    assert re.search(f"^{place} +{missing.replace('PIL', 'Pillow')}", done.stdout, re.M)
    assert bool(re.search("^coder round trip +good", done.stdout, re.M)) == (package != "numpy")
    assert re.search("^glc compiler", done.stdout, re.M)


def test_all_dependencies_are_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [re.split("[<>=]", name)[0] for name in project["dependencies"]]
    assert sorted(PACKAGES.values()) == sorted(listed)
