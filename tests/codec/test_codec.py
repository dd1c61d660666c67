# SPDX-License-Identifier: Apache-2.0
"""Files of the codec: they come back, they add up, and damage is told from soundness."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import weight_norm

import glc
from glc.bitstream import Header, accounting, pack, parse
from glc.codec import MAX_LEVEL, Codec, level_of
from glc.entropy_path import Symbols
from glc.errors import BitstreamError, GlcError, InvalidArgumentError, UnsupportedError
from glc.models import GLC, preset
from glc.models.padding import pad_to_multiple

# One torch thread against several sums in another order, which moves a few symbols across a half.
SAME_SYMBOLS = 0.999
PIXEL_TOLERANCE = 2.0 / 255.0


@pytest.fixture(scope="module")
def codec(tiny_folder: Path) -> Codec:
    return Codec(tiny_folder)


@pytest.fixture(scope="module")
def data(codec: Codec, photo: np.ndarray) -> bytes:
    return codec.encode(photo, quality=2.0)


def symbols_of(codec: Codec, data: bytes) -> Symbols:
    _, pieces = codec._read(data, 10**6)
    (piece,) = pieces
    return piece.symbols


def test_symbols_and_pixels_are_those_of_the_model(
    codec: Codec, data: bytes, photo: np.ndarray
) -> None:
    x = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    seen = codec.model.inspect(pad_to_multiple(x, codec.model.pad_multiple), quality=2.0)
    coded = symbols_of(codec, data)
    assert np.array_equal(coded.z_index, seen.z_index)
    nonzero = sum(int(np.count_nonzero(part.symbols)) for part in coded.parts)
    assert nonzero > 100, "a test of zeros proves nothing"
    same = np.isclose(coded.latent, seen.y_hat, atol=1e-4).mean()
    assert same >= SAME_SYMBOLS
    decoded = torch.from_numpy(codec.decode(data)).permute(2, 0, 1).float() / 255
    x_hat = seen.x_hat[0, :, : photo.shape[0], : photo.shape[1]].clamp(0, 1)
    assert (decoded - x_hat).abs().mean() < PIXEL_TOLERANCE


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (63, 64), (64, 64), (65, 127), (1, 4000), (4000, 1)]
)
def test_any_size(codec: Codec, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    data = codec.encode(pixels, quality=1.0)
    decoded = codec.decode(data)
    assert decoded.shape == pixels.shape
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert sum(codec.analyze(data).bits().values()) == 8 * len(data)


def test_same_picture_same_bytes(codec: Codec, photo: np.ndarray, data: bytes) -> None:
    tensor = torch.from_numpy(photo).permute(2, 0, 1).float() / 255
    assert codec.encode(photo, quality=2.0) == data
    assert codec.encode(tensor, quality=2.0) == data
    assert codec.encode(photo) == data, "the default quality is 2"
    np.testing.assert_array_equal(codec.decode(data), codec.decode(bytearray(data)))


@pytest.mark.parametrize(
    ("quality", "level"), [(0, 0), (0.02, 0), (0.03, 1), (1, 21), (1.5, 32), (2.999, 63), (3, 63)]
)
def test_quality_becomes_a_level(
    codec: Codec, photo: np.ndarray, quality: float, level: int
) -> None:
    assert level_of(quality) == level
    header, _ = parse(codec.encode(photo[:32, :32], quality=quality))
    assert header.level == level
    assert (header.width, header.height) == (32, 32)
    assert header.model_id == codec.fingerprint[:2]


@pytest.mark.parametrize("quality", [-0.01, 3.01, float("nan"), float("inf"), -1e9])
def test_quality_out_of_range(codec: Codec, photo: np.ndarray, quality: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"quality: expected 0 \.\. 3"):
        codec.encode(photo, quality=quality)


def test_target_bytes(codec: Codec, photo: np.ndarray) -> None:
    small = photo[:64, :96]
    lowest, middle, highest = (len(codec.encode(small, quality=q)) for q in (0, 1.5, 3))
    assert lowest < middle < highest
    for target in (lowest, middle, highest, highest + 1000):
        data = codec.encode(small, target_bytes=target)
        assert len(data) <= target
        assert data == codec.encode(small, quality=parse(data)[0].quality)
        if target >= highest:
            assert parse(data)[0].level == MAX_LEVEL
        if target >= middle:
            assert len(data) >= middle


@pytest.mark.parametrize("levels", [1, 2])
def test_target_bytes_of_a_model_with_fewer_levels(photo: np.ndarray, levels: int) -> None:
    torch.manual_seed(0)
    codec = Codec(GLC(replace(preset("glc-tiny"), levels=levels)))
    data = codec.encode(photo, target_bytes=10**6)
    assert parse(data)[0].level == 21 * (levels - 1)
    with pytest.raises(InvalidArgumentError, match="target_bytes: expected at least"):
        codec.encode(photo, target_bytes=20)


def test_target_bytes_that_cannot_be_met(codec: Codec, photo: np.ndarray) -> None:
    for target in (-5, 20):
        with pytest.raises(InvalidArgumentError, match="target_bytes: expected at least"):
            codec.encode(photo, target_bytes=target)
    with pytest.raises(InvalidArgumentError, match="both"):
        codec.encode(photo, quality=1.0, target_bytes=5000)


def test_bits_add_up_to_the_file(codec: Codec, data: bytes) -> None:
    analysis = codec.analyze(data)
    bits = analysis.bits()
    assert sum(bits.values()) == 8 * len(data) == accounting(data).total
    assert len(analysis.parts) == 4
    for part in analysis.parts:
        assert 0 <= part.nonzero <= part.coded <= part.symbols
        assert part.skip_share == 1 - part.coded / part.symbols
    n_lanes = analysis.header.n_lanes
    assert 0 < analysis.coder_overhead_bits < 8 * (4 * n_lanes + 8)
    n = codec.model.config.latent_channels
    assert sum(part.symbols for part in analysis.parts) == n * (192 // 16) * (256 // 16)
    assert analysis.z_symbols == 3 * 4


def test_skipped_symbols_are_zero(codec: Codec, data: bytes) -> None:
    coded = symbols_of(codec, data)
    for part in coded.parts:
        assert not part.symbols[~part.coded].any()
        lowest_nonzero = part.rows[part.symbols != 0].min(initial=255)
        assert part.threshold == min(int(lowest_nonzero), codec._tables.y.rows)


def test_truncation_at_every_byte(codec: Codec, data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises(BitstreamError):
            codec.verify(data[:size])


def test_every_flipped_bit_is_told(codec: Codec, data: bytes) -> None:
    for at in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[at // 8] ^= 1 << at % 8
        with pytest.raises((BitstreamError, UnsupportedError)):
            codec.verify(bytes(damaged))


def test_appended_bytes_are_told(codec: Codec, data: bytes) -> None:
    with pytest.raises(BitstreamError):
        codec.decode(data + b"\0")


def test_forged_payloads_decode_or_are_refused(codec: Codec, data: bytes) -> None:
    """A checksum that fits proves nothing: whoever makes a file can make its checksum."""
    header, payload = parse(data)
    rng = np.random.default_rng(5)
    refused = 0
    for trial in range(150):
        body = bytearray(payload)
        if trial % 3 == 0:
            body = bytearray(rng.integers(0, 256, rng.integers(4, 200), dtype=np.uint8).tobytes())
        elif trial % 3 == 1:
            for at in rng.integers(0, len(body), 3):
                body[at] ^= 1 << int(rng.integers(8))
        else:
            body = body[: rng.integers(4, len(body))]
        coder = int(rng.integers(16)) if trial % 2 else header.coder
        fields = {"width": 90, "height": 70, "level": header.level, "model_id": header.model_id}
        forged = Header(coder=coder, **fields)
        try:
            codec.decode(pack(forged, bytes(body), codec.fingerprint))
        except BitstreamError:
            refused += 1
        except InvalidArgumentError:
            assert coder & 7 > 5, "only the writer may complain of its own descriptor"
    assert refused > 100


def test_forged_threshold(codec: Codec, data: bytes) -> None:
    header, payload = parse(data)
    body = bytearray(payload)
    body[2] = codec._tables.y.rows + 1
    with pytest.raises(BitstreamError, match=r"threshold of part 2: .*byte 2 of the payload"):
        codec.decode(pack(header, bytes(body), codec.fingerprint))


def test_wrong_model_names_both(other_tiny_folder: Path, codec: Codec, data: bytes) -> None:
    other = Codec(other_tiny_folder)
    with pytest.raises(BitstreamError) as caught:
        other.decode(data)
    assert codec.fingerprint[:2].hex() in str(caught.value)
    assert other.fingerprint[:2].hex() in str(caught.value)


def test_files_of_another_arithmetic_are_refused(codec: Codec, data: bytes) -> None:
    header, payload = parse(data)
    other = pack(replace(header, profile=0), payload, codec.fingerprint)
    for partial in (False, True):
        with pytest.raises(UnsupportedError, match="profile: expected 1, got 0"):
            codec.restore(other, partial=partial)


def test_too_many_pixels(codec: Codec, data: bytes, photo: np.ndarray) -> None:
    with pytest.raises(BitstreamError, match="pixels"):
        codec.decode(data, max_pixels=photo.shape[0] * photo.shape[1] - 1)
    header = Header(width=20000, height=10000, level=0, coder=0, model_id=codec.fingerprint[:2])
    with pytest.raises(BitstreamError, match="pixels"):
        codec.decode(pack(header, bytes(40), codec.fingerprint))


@pytest.mark.parametrize("data", ["text", None, 5, [1, 2]])
def test_what_is_no_bytes(codec: Codec, data: object) -> None:
    with pytest.raises(InvalidArgumentError, match="expected the bytes of a file"):
        codec.decode(data)


def test_thread_count_changes_nothing(codec: Codec, photo: np.ndarray, data: bytes) -> None:
    """Neither the file nor the picture: a model that draws by exact layers has one of each."""
    before = torch.get_num_threads(), glc.get_num_threads()
    try:
        expected, picture = symbols_of(codec, data), codec.decode(data)
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            glc.set_num_threads(n_threads)
            coded = symbols_of(codec, data)
            assert (torch.get_num_threads(), glc.get_num_threads()) == (n_threads, n_threads)
            assert np.array_equal(coded.y_hat, expected.y_hat)
            for part, other in zip(coded.parts, expected.parts, strict=True):
                np.testing.assert_array_equal(part.symbols, other.symbols)
            assert codec.encode(photo, quality=2.0) == data
            np.testing.assert_array_equal(codec.decode(data), picture)
    finally:
        torch.set_num_threads(before[0])
        glc.set_num_threads(before[1])


def test_python_threads_may_share_a_codec(codec: Codec, photo: np.ndarray, data: bytes) -> None:
    before = torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda _: codec.encode(photo, quality=2.0), range(6)))
        reports = list(pool.map(codec.verify, files))
    assert len(reports) == 6
    assert torch.get_num_threads() == before


def test_broken_weights_are_refused_on_both_sides(
    tiny_folder: Path, photo: np.ndarray, data: bytes
) -> None:
    codec = Codec(tiny_folder)
    sound = codec.fingerprint
    model = GLC.from_pretrained(tiny_folder)
    next(model.h_s.parameters()).data[0] = float("nan")
    codec = Codec(model)
    codec.fingerprint = sound
    with pytest.raises(InvalidArgumentError, match="finite"):
        codec.encode(photo)
    with pytest.raises(BitstreamError, match="finite"):
        codec.decode(data)


def test_a_changed_model_needs_a_new_codec(
    tiny_folder: Path, photo: np.ndarray, data: bytes
) -> None:
    codec = Codec(GLC.from_pretrained(tiny_folder))
    assert codec.encode(photo) == data
    with torch.no_grad():
        next(codec.model.parameters()).mul_(1.01)
    for call in (lambda: codec.encode(photo), lambda: codec.decode(data)):
        with pytest.raises(InvalidArgumentError, match="make a new Codec"):
            call()
    assert Codec(codec.model).encode(photo) != data


class Adapter(nn.Module):
    """A convolution with something added, which shows the weight it was made for."""

    def __init__(self, base: nn.Conv2d) -> None:
        super().__init__()
        self.base = base
        self.added = nn.Conv2d(base.in_channels, base.out_channels, 1)

    @property
    def weight(self) -> torch.Tensor:
        return self.base.weight

    @property
    def bias(self) -> torch.Tensor | None:
        return self.base.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.added(x)


ADDED = {
    "an adapter": Adapter,
    "pruning": lambda conv: prune.l1_unstructured(conv, "weight", 0.2),
    "another forward": lambda conv: setattr(conv, "forward", conv.forward) or conv,
}


@pytest.mark.parametrize("place", ["reduction", "prior.0", "adaptors.1"])
@pytest.mark.parametrize("added", ADDED)
def test_what_exact_layers_would_leave_out_is_refused(
    tiny_folder: Path, place: str, added: str
) -> None:
    model = GLC.from_pretrained(tiny_folder)
    layer = model.context.get_submodule(place)
    while not isinstance(layer, nn.Conv2d):
        place, layer = next((f"{place}.{n}", m) for n, m in layer.named_children())
    parent = model.context.get_submodule(place.rpartition(".")[0])
    setattr(parent, place.rpartition(".")[2], ADDED[added](layer))
    with pytest.raises(InvalidArgumentError, match="exact layers: module: expected a Conv2d"):
        Codec(model)


def test_a_parametrized_weight_codes_as_the_merged_one(
    tiny_folder: Path, photo: np.ndarray
) -> None:
    model = GLC.from_pretrained(tiny_folder)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    for conv in convs:
        weight_norm(conv)
        with torch.no_grad():
            conv.parametrizations.weight.original0.mul_(1.02)
    payload = bytes(parse(Codec(model).encode(photo))[1])
    for conv in convs:
        parametrize.remove_parametrizations(conv, "weight")
    merged = Codec(model)
    assert bytes(parse(merged.encode(photo))[1]) == payload
    assert payload != bytes(parse(Codec(tiny_folder).encode(photo))[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torchs_default_dtype_changes_nothing(
    tiny_folder: Path, photo: np.ndarray, data: bytes, codec: Codec, dtype: torch.dtype
) -> None:
    expected = codec.decode(data)
    try:
        torch.set_default_dtype(dtype)
        for other in (codec, Codec(tiny_folder)):
            assert other.encode(photo) == data
            np.testing.assert_array_equal(other.decode(data), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_autocast_around_a_codec_changes_nothing(
    photo: np.ndarray, data: bytes, codec: Codec
) -> None:
    expected = codec.decode(data)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert codec.encode(photo) == data
        np.testing.assert_array_equal(codec.decode(data), expected)


def test_torchs_default_device_changes_nothing(
    tiny_folder: Path, photo: np.ndarray, data: bytes, codec: Codec
) -> None:
    expected = codec.decode(data)
    fresh = Codec(tiny_folder)  # nothing is prepared in it yet
    with torch.device("meta"):  # it has no values, so that whatever computes there is caught
        for other in (fresh, Codec(tiny_folder)):
            np.testing.assert_array_equal(other.decode(data), expected)
            assert other.encode(photo) == data


def test_a_codec_can_be_pickled_after_use(codec: Codec, data: bytes) -> None:
    expected = codec.decode(data)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(codec)).decode(data), expected)


def test_progress_moves_forward(codec: Codec, photo: np.ndarray, data: bytes) -> None:
    steps: list[tuple[str, float]] = []
    codec.encode(photo[:64, :64], target_bytes=10**6, progress=lambda *step: steps.append(step))
    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    codec.decode(data, progress=lambda *step: steps.append(step))
    assert all(name and 0.0 <= fraction <= 1.0 for name, fraction in steps)
    assert steps[-1][1] == 1.0
    assert len(steps) > 4
    steps.clear()
    codec.decode(codec.encode(photo, tile=64), progress=lambda *step: steps.append(step))
    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions)
    assert len(fractions) > 2 * 4 * 3  # a picture of 150 x 200 pixels has so many tiles


def test_module_functions(tiny_folder: Path, photo: np.ndarray, data: bytes, codec: Codec) -> None:
    assert glc.encode(photo, model=tiny_folder, quality=2.0) == data
    np.testing.assert_array_equal(glc.decode(data, model=tiny_folder), codec.decode(data))
    np.testing.assert_array_equal(glc.decode(data, model=codec.model), codec.decode(data))
    report = glc.verify(data, model=tiny_folder)
    assert report.file_bytes == len(data)
    assert report.portable
    with pytest.raises(BitstreamError):
        glc.decode(b"not a file", model=tiny_folder)


@pytest.mark.parametrize("model", ["no-such-model", "/nonexistent/folder", "org/name"])
def test_unknown_model(model: str) -> None:
    with pytest.raises(InvalidArgumentError, match="model: expected"):
        Codec(model)


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Codec(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(GlcError):
        Codec(tmp_path)
    assert "\n" not in str(caught.value)


def test_unknown_device(tiny_folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="device"):
        Codec(tiny_folder, device="abacus")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_files_do_not_depend_on_where_the_networks_run(
    tiny_folder: Path, codec: Codec, photo: np.ndarray
) -> None:
    """The entropy path runs on the CPU, so that each side reads the other's files."""
    device_codec = Codec(tiny_folder, device="cuda")
    for writer, reader in ((device_codec, codec), (codec, device_codec)):
        data = writer.encode(photo, quality=2.0)
        pixels = reader.decode(data).astype(int)
        same = writer.decode(data).astype(int)
        assert np.abs(pixels - same).mean() < 1.0


def test_coding_does_not_wait_for_torchs_compiler(tiny_folder: Path, sample_path: Path) -> None:
    """A first call through torch.library imports torch._dynamo, which takes seconds."""
    script = (
        "import sys, glc\n"
        f"codec = glc.Codec({str(tiny_folder)!r})\n"
        f"data = codec.encode({str(sample_path)!r})\n"
        "codec.decode(data), codec.analyze(data), codec.verify(data)\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("level", [22, 63])
def test_a_level_that_the_model_has_not_learned_is_a_bitstream_error(level: int) -> None:
    """By a writer that knows the fingerprint, and by damage to a file drawn all the same."""
    torch.manual_seed(0)
    codec = Codec(GLC(replace(preset("glc-tiny"), levels=2)))
    data = codec.encode(np.full((64, 64, 3), 99, np.uint8), quality=1)
    header, payload = parse(data)
    forged = pack(replace(header, level=level), bytes(payload), codec.fingerprint)
    for read in (codec.decode, codec.verify, codec.analyze):
        with pytest.raises(BitstreamError, match=r"decode: level: expected at most 21 .* byte 6"):
            read(forged)
    damaged = data[:6] + bytes([level]) + data[7:]
    with pytest.raises(BitstreamError, match="decode: level"):
        codec.restore(damaged, partial=True)
