# SPDX-License-Identifier: Apache-2.0
"""How many pixels a file may claim, and who may allow more."""

from pathlib import Path

import pytest

from glc.bitstream import Header, pack
from glc.models import GLC
from tests.cli.refusal import Run, assert_refused


@pytest.mark.parametrize("verb", ["decode", "info", "verify"])
def test_max_pixels(run: Run, coded: Path, tiny_folder: Path, verb: str) -> None:
    out = [coded.parent / "a.png"] if verb == "decode" else []
    refused = run(verb, coded, *out, "--max-pixels", 90 * 70 - 1)
    assert_refused(refused, "at most 6299 pixels", "raise max_pixels")
    assert not (coded.parent / "a.png").exists()
    assert run(verb, coded, *out, "--max-pixels", 90 * 70).exit_code == 0
    assert_refused(run(verb, coded, *out, "--max-pixels", 0), "--max-pixels")

    fingerprint = GLC.from_pretrained(tiny_folder).fingerprint()
    header = Header(width=20000, height=10000, model_id=fingerprint[:2])
    large = coded.parent / "large.glc"
    large.write_bytes(pack(header, b"\0" * 300, fingerprint))  # a sound container of no picture
    out = [coded.parent / "b.png"] if verb == "decode" else []
    assert_refused(run(verb, large, *out), "at most 178956970 pixels", "raise max_pixels")
    for most in (2 * 10**8, 1 << 70):
        assert_refused(run(verb, large, *out, "--max-pixels", most), "rans: state")


def test_more_pixels_than_memory_can_address(run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    fingerprint = GLC.from_pretrained(tiny_folder).fingerprint()
    header = Header(width=2**32 - 1, height=2**32 - 1, model_id=fingerprint[:2])
    path = tmp_path / "large.glc"
    path.write_bytes(pack(header, b"\0" * 300, fingerprint))
    assert_refused(run("decode", path, tmp_path / "a.png", "--max-pixels", 1 << 64), "memory")
