# SPDX-License-Identifier: Apache-2.0
"""Every example in the documentation runs as printed; every link and make target exists."""

import doctest
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import glc
from glc.errors import InvalidArgumentError
from glc.models import preset
from glc.ops import VectorQuantizer, coder, four_part_pick

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {"onnx.md"}  # whose example tests/codec/test_onnx.py runs, beside the files it reads
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
MODELS = ("glc/pretrained/glc-image-small", "glc/pretrained/glc-image-small-denoise")
CARDS = ("examples/images", *MODELS, "tests/cuda_on_cpu")
LINKED = [*PAGES, *(ROOT / folder / "README.md" for folder in CARDS)]
DOCTESTED = ("glc.rans", "glc.cdf", "glc.bitstream", "glc.compat.compressai")


def python_blocks(page):
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def blocks(*, benchmarks):
    return [
        pytest.param(block, id=f"{page.name}-{number}")
        for page in PAGES
        if page.name not in ELSEWHERE
        for number, block in enumerate(python_blocks(page), start=1)
        if ("def bench_" in block) == benchmarks
    ]


def test_the_readme_has_examples():
    assert len(python_blocks(ROOT / "README.md")) >= 2


@pytest.mark.parametrize("block", blocks(benchmarks=False))
def test_python_block_runs(block, tmp_path, monkeypatch):
    shutil.copy(ROOT / "examples/images/kodim23.png", tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "documentation", "exec"), {})


@pytest.mark.parametrize("block", blocks(benchmarks=True))
def test_benchmark_block_runs(block, tmp_path):
    (tmp_path / "bench_example.py").write_text(block, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.conftest"]
    command += ["-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", "--benchmark-only"]
    done = subprocess.run(
        [*command, tmp_path / "bench_example.py"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "GLC_BENCH_FAST": "1"},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "x numpy" in done.stdout  # the race was reported


@pytest.mark.parametrize("name", DOCTESTED)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


REFUSED = [
    pytest.param(glc.decode, ("photo.glc",), id="glc.decode"),
    pytest.param(glc.verify, ("photo.glc",), id="glc.verify"),
    pytest.param(glc.rans.encode_bytes, ([1],), id="rans.encode_bytes"),
    pytest.param(glc.rans.decode_bytes, ([1],), id="rans.decode_bytes"),
    pytest.param(glc.rans.Decoder, ([1],), id="rans.Decoder"),
    pytest.param(coder.decode_bytes, (torch.zeros(9),), id="coder.decode_bytes"),
    pytest.param(coder.Decoder, (torch.zeros(9),), id="coder.Decoder"),
    pytest.param(four_part_pick, (torch.zeros(1, 4, 2, 2), 4), id="four_part_pick"),
    pytest.param(VectorQuantizer(4, 3).nearest, (torch.zeros(3, 3),), id="VectorQuantizer.nearest"),
]


@pytest.mark.parametrize(("function", "arguments"), REFUSED)
def test_what_is_refused_is_documented(function, arguments):
    with pytest.raises(InvalidArgumentError):
        function(*arguments)
    text = (function.__init__ if isinstance(function, type) else function).__doc__
    assert "InvalidArgumentError:" in text.partition("Raises:")[2]


@pytest.mark.parametrize("quality", [-1, 4])
@pytest.mark.parametrize("name", ["forward", "code_latent", "inspect"])
def test_a_quality_out_of_range_is_documented(name, quality):
    model = glc.GLC(preset("glc-tiny"))
    function = getattr(model, name)
    shape = (1, 16, 4, 4) if name == "code_latent" else (1, 3, 64, 64)
    with pytest.raises(InvalidArgumentError, match="quality"):
        function(torch.zeros(shape), quality)
    documented = " ".join(function.__doc__.partition("Raises:")[2].split())
    assert "a quality out of range" in documented


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_linked_files_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)]+)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)", target.read_text(encoding="utf-8"), re.M)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, link


def test_commits_that_measured_exist():
    def git(*words):
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    whole = git("rev-parse", "--is-shallow-repository") if (ROOT / ".git").exists() else None
    if whole is None or whole.stdout != "false\n":
        pytest.skip("no history here")
    named = re.compile(r"(?:\b[Cc]ommits? |\d{4}-\d\d-\d\d, )\[?([0-9a-f]{7,40})\b")
    commits = {c for page in PAGES for c in named.findall(page.read_text(encoding="utf-8"))}
    assert len(commits) > 20
    assert not [c for c in sorted(commits) if git("cat-file", "-e", f"{c}^{{commit}}").returncode]


def table_of(heading):
    """The names in the first column of the table that follows these words in architecture.md."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = text.partition(heading)[2].partition("\n\n")[0].splitlines()
    return {name for row in rows for name in re.findall(r"`(GLC_\w+)`", row.split("|")[1])}


def test_every_build_option_is_documented():
    text = (ROOT / "cmake/GlcOptions.cmake").read_text(encoding="utf-8")
    options = re.findall(r"^option\((GLC_\w+)|^set\((GLC_\w+)[^\n]* CACHE", text, re.M)
    assert table_of("| option | default | help |\n") == {a or b for a, b in options}


def test_every_environment_variable_is_documented():
    folders = ("glc", "csrc", "benchmarks", "tools", "tests", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    reads = re.compile(r"(?:environ(?:\.get)?[(\[]|getenv\()\"(GLC_\w+)")
    found = {
        name
        for path in [ROOT / "setup.py", *files]
        if path.suffix in {".py", ".cpp", ".cu", ".h"}
        for name in reads.findall(path.read_text(encoding="utf-8"))
    }
    assert table_of("| variable | read by | meaning |\n") == found


def test_folders_of_the_core_see_what_the_architecture_says():
    folders = "rans vq entropy exact generator bitstream compat".split()
    seen = {
        (folder, other)
        for folder in folders
        for path in (ROOT / "csrc" / folder).iterdir()
        for other in re.findall(r'^#include "(\w+)/', path.read_text(encoding="utf-8"), re.M)
    }
    others = {pair for pair in seen if pair[1] not in {pair[0], "core", "glc"}}
    assert others == {("compat", "rans")}


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {
        t
        for page in PAGES
        for t in re.findall(r"`?\bmake ([a-z-]+)`?$", page.read_text(encoding="utf-8"), re.M)
    }
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target
