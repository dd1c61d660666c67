# SPDX-License-Identifier: Apache-2.0
"""Crops depend on seed and number only; broken and small photos are counted, never fatal alone."""

import io
import os
import subprocess
import sys
import tarfile
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import glc.training.data
from glc.errors import InvalidArgumentError
from glc.image import load_image
from glc.training.config import DataConfig
from glc.training.data import Photos
from glc.training.shards import Source, find_sources, pack


def data(root, **changes) -> DataConfig:
    fields = {"holdout": 2, "crop": 64, "validation_crop": 64, **changes}
    return DataConfig(root=str(root), **fields)


def crops(config, steps, *, seed=3, start=0, size=4, **where):
    return list(islice(Photos(config, seed).batches(start, size, **where), steps))


@pytest.fixture
def copied(photos, tmp_path):
    """The photos in a folder that a test may spoil."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in photos.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_order_depends_on_the_seed_only(photos):
    one, two = crops(data(photos), 5), crops(data(photos), 5)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one[0], crops(data(photos), 1, seed=4)[0])
    assert one[0].shape == (4, 3, 64, 64)
    assert one[0].abs().max() <= 1


def test_it_goes_on_in_the_middle_of_an_epoch(photos):
    """Six photos and four crops a step: step 2 lies within the second epoch."""
    whole = crops(data(photos), 6)
    assert all(
        torch.equal(a, b) for a, b in zip(whole[2:], crops(data(photos), 4, start=2), strict=True)
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(photos, workers):
    alone, ahead = crops(data(photos), 6), crops(data(photos, workers=workers), 6)
    assert all(torch.equal(a, b) for a, b in zip(alone, ahead, strict=True))


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
def test_a_gpu_gets_the_same_decoded_ahead(photos, monkeypatch):
    monkeypatch.setattr(glc.training.data, "MOST_WORKERS", 1)
    alone, ahead = crops(data(photos), 3), crops(data(photos), 3, on_gpu=True)
    assert all(torch.equal(a, b) for a, b in zip(alone, ahead, strict=True))
    if torch.cuda.is_available():
        assert ahead[0].is_pinned()


def test_processes_share_every_step(photos):
    whole = crops(data(photos), 3)
    parts = [crops(data(photos), 3, rank=rank, world=2) for rank in range(2)]
    for step in range(3):
        assert torch.equal(whole[step], torch.cat([part[step] for part in parts]))


def test_every_photo_is_seen_once_an_epoch(photos):
    config = data(photos, resized_share=0.0)
    loader = Photos(config, 0)
    for epoch in range(3):
        assert sorted(loader._epoch_order(epoch)) == loader.training
    assert not set(loader.training) & set(loader.validation)


@pytest.mark.parametrize(("share", "scale"), [(0.0, 0.5), (1.0, 1.25), (1.0, 0.5)])
def test_crops_are_windows_of_their_photos_mirrored_or_not(tmp_path, share, scale):
    """As they are, or brought to the size of a crop from a range of sizes."""
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 256, (40, 44, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    crop = 32
    config = data(tmp_path, crop=crop, resized_share=share, resized_range=(scale, scale))
    loader = Photos(config, 0)
    side = round(crop * scale) if share else crop
    windows = []
    for number in loader.training:
        x = torch.from_numpy(loader.photo(number)).permute(2, 0, 1) / 127.5 - 1
        cut = x.unfold(1, side, 1).unfold(2, side, 1).flatten(1, 2).transpose(0, 1)
        if side != crop:
            antialias = side > crop
            cut = F.interpolate(cut, size=(crop, crop), mode="bilinear", antialias=antialias)
        windows.append(cut)
    known = torch.cat(windows)
    mirrored = []
    for x in torch.cat(list(islice(loader.batches(0, 4), 4))):
        far = [float((known - way).abs().amax((1, 2, 3)).min()) for way in (x, x.flip(-1))]
        assert min(far) < 1e-5
        mirrored.append(far[1] < far[0])
    assert set(mirrored) == {False, True}


def test_memory_limit_changes_nothing(photos):
    kept, decoded_again = crops(data(photos), 4), crops(data(photos, cache_gb=0.0), 4)
    assert all(torch.equal(a, b) for a, b in zip(kept, decoded_again, strict=True))


def test_held_out_photos_take_no_memory_from_the_others(photos):
    size = 112 * 96 * 3
    loader = Photos(data(photos, cache_gb=2 * size / 2**30), seed=0)
    loader.validation_batch()
    next(loader.batches(0, 4))
    assert len(loader._cache) == 2
    assert not set(loader._cache) & set(loader.validation)


@pytest.mark.parametrize("workers", [0, 2])
def test_unusable_photos_are_passed_over_and_counted(copied, workers):
    (copied / "a.png").write_bytes(b"not a picture")
    whole = (copied / "0.png").read_bytes()
    (copied / "b.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (200, 63)).save(copied / "c.png")
    loader = Photos(data(copied, holdout=0, workers=workers), seed=0)
    batches = list(islice(loader.batches(0, 4), 8))
    assert all(b.isfinite().all() for b in batches)
    names = [source.path.name for source in loader.sources]
    assert {names[n] for n in loader.rejected.unreadable} == {"a.png", "b.png"}
    assert {names[n] for n in loader.rejected.too_small} == {"c.png"}
    assert str(loader.rejected) == "2 unreadable, 1 smaller than the crop"


def test_headers_that_pillow_breaks_on_are_unreadable(copied, tmp_path):
    """Whatever its plugins raise: RuntimeError, of an AVIF file that says it has no picture."""
    pytest.importorskip("PIL._avif", reason="Pillow reads no AVIF")
    broken = io.BytesIO()
    Image.new("RGB", (100, 100)).save(broken, "avif")
    (copied / "a.jpg").write_bytes(broken.getvalue().replace(b"pitm", b"free"))
    with pytest.raises(RuntimeError):
        Image.open(copied / "a.jpg")
    loader = Photos(data(copied, holdout=0), seed=0)
    assert len(list(islice(loader.batches(0, 4), 4))) == 4
    assert str(loader.rejected) == "1 unreadable, 0 smaller than the crop"
    assert pack(copied, tmp_path / "shards") == (8, 1)


def test_what_is_ignored_of_a_photo_is_not_told_in_every_epoch(copied, recwarn):
    for path in list(copied.iterdir()):
        exif = b"Exif\0\0II*\0garbage"
        Image.open(path).save(path.with_suffix(".jpg"), icc_profile=b"no profile", exif=exif)
        path.unlink()
    loader = Photos(data(copied), seed=0)
    assert len(list(islice(loader.batches(0, 4), 4))) == 4
    assert loader.validation_batch().isfinite().all()
    assert not recwarn.list


def save_unusual(folder) -> None:
    """Pictures that a bare conversion to RGB gets wrong, 70 x 100 once upright."""
    folder.mkdir()
    ramp = np.linspace(0, 65535, 70 * 100).reshape(100, 70).round().astype(np.uint16)
    Image.fromarray(ramp).save(folder / "grey16.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    colours = np.random.default_rng(0).integers(0, 256, (70, 100, 3), np.uint8)
    Image.fromarray(colours).save(folder / "turned.jpg", exif=turned)
    clear = np.zeros((100, 70, 4), np.uint8)
    clear[50:] = 255
    Image.fromarray(clear).save(folder / "clear.png")
    Image.fromarray(colours.transpose(1, 0, 2)).quantize(16).save(folder / "palette.png")


def test_photos_are_read_as_the_codec_reads_them(tmp_path):
    save_unusual(tmp_path / "photos")
    loader = Photos(data(tmp_path / "photos", holdout=0), seed=0)
    for number, source in enumerate(loader.sources):
        photo = loader.photo(number)
        assert photo.shape == (100, 70, 3), source.path.name
        assert np.array_equal(photo, load_image(source.path)), source.path.name


@pytest.mark.parametrize("short_side", [None, 35])
def test_shards_hold_what_the_codec_reads(tmp_path, short_side):
    save_unusual(tmp_path / "photos")
    pack(tmp_path / "photos", tmp_path / "shards", short_side=short_side)
    folder, shards = (Photos(data(tmp_path / f, holdout=0), 0) for f in ("photos", "shards"))
    for number in range(len(folder.sources)):
        whole, packed = Image.fromarray(folder.photo(number)), shards.photo(number)
        size = (whole.width, whole.height) if short_side is None else (35, 50)
        expected = whole if short_side is None else whole.resize(size, Image.Resampling.LANCZOS)
        assert np.array_equal(packed, np.asarray(expected))


@pytest.mark.parametrize("workers", [0, 1])
def test_only_unusable_photos_are_refused(copied, workers):
    for path in copied.iterdir():
        path.write_bytes(b"")
    with pytest.raises(InvalidArgumentError, match="8 in a row that were not: 8 unread") as raised:
        crops(data(copied, holdout=0, workers=workers), 1)
    assert str(raised.value).startswith("photos: ")
    assert "Traceback" not in str(raised.value)
    with pytest.raises(InvalidArgumentError, match="2 held out"):
        Photos(data(copied), seed=0).validation_batch()


def test_photos_smaller_than_the_crop_are_refused(photos):
    with pytest.raises(InvalidArgumentError, match=r"both sides >= 97.*6 smaller than the crop"):
        crops(data(photos, crop=97), 1)


def test_bad_folders_lists_and_shards_are_refused(photos, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InvalidArgumentError, match="more than holdout=2 photos"):
        Photos(data(empty), seed=0)
    with pytest.raises(InvalidArgumentError, match="expected a folder"):
        Photos(data(tmp_path / "absent"), seed=0)
    with pytest.raises(InvalidArgumentError, match="list"):
        Photos(data(photos, list=str(tmp_path / "absent.txt")), seed=0)
    (empty / "000000.tar").write_bytes(b"no tar" * 100)
    with pytest.raises(InvalidArgumentError, match=r"000000\.tar: expected a tar"):
        Photos(data(empty), seed=0)


@pytest.mark.parametrize("kept", [0, 100])
def test_a_shard_with_a_damaged_header_is_not_taken_for_a_shorter_one(photos, tmp_path, kept):
    """Whether its bytes are others, or the file ends there."""
    pack(photos, tmp_path)
    shard = tmp_path / "000000.tar"
    whole = shard.read_bytes()
    header = find_sources(tmp_path)[3].offset - tarfile.BLOCKSIZE
    rest = b"" if kept else b"\1" * 20 + whole[header + 20 :]
    shard.write_bytes(whole[: header + kept] + rest)
    with pytest.raises(InvalidArgumentError, match=f"a damaged header at byte {header}"):
        find_sources(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may look anywhere")
def test_a_closed_folder_is_not_passed_over_in_silence(copied):
    (copied / "more").mkdir(mode=0)
    with pytest.raises(InvalidArgumentError, match=r"photos: root: .*more: Permission denied"):
        find_sources(copied)


def test_a_list_names_photos_and_shards(photos, tmp_path):
    pack(photos, tmp_path / "shards")
    (tmp_path / "list.txt").write_text("shards/000000.tar\n\n")
    assert len(find_sources(tmp_path, str(tmp_path / "list.txt"))) == 8
    (tmp_path / "some.txt").write_text("1.png\n0.png\n")
    chosen = find_sources(photos, str(tmp_path / "some.txt"))
    assert [source.path.name for source in chosen] == ["0.png", "1.png"]


def test_shards_give_the_crops_of_the_folder(photos, tmp_path):
    assert pack(photos, tmp_path / "shards", per_shard=3) == (8, 0)
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 3
    folder, shards = crops(data(photos), 4), crops(data(tmp_path / "shards"), 4)
    assert all(torch.equal(a, b) for a, b in zip(folder, shards, strict=True))
    with pytest.raises(InvalidArgumentError, match="no tars"):
        pack(photos, tmp_path / "shards")
    for name in ("per_shard", "short_side"):
        with pytest.raises(InvalidArgumentError, match=rf"^shards: {name}: .* got 0$"):
            pack(photos, tmp_path / "none", **{name: 0})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgumentError, match=r"^shards: photos: expected photos in .* none$"):
        pack(tmp_path / "empty", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_is_interrupted_leaves_whole_shards_alone(photos, tmp_path, monkeypatch):
    decode = Source.decode

    def lose_patience(source):
        if source.path.name == "5.png":
            raise KeyboardInterrupt
        return decode(source)

    monkeypatch.setattr(Source, "decode", lose_patience)
    with pytest.raises(KeyboardInterrupt):
        pack(photos, tmp_path / "shards", per_shard=3)
    assert [path.name for path in (tmp_path / "shards").iterdir()] == ["000000.tar"]
    assert len(find_sources(tmp_path / "shards")) == 3


def test_the_documented_command_makes_shards_webdataset_reads(copied, tmp_path):
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    (copied / "broken.jpg").write_bytes(b"\xff\xd8 cut")
    out = tmp_path / "shards"
    command = [sys.executable, "-m", "glc.training.shards", copied, out, "--short-side", "48"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "8 photos, 1 unreadable left out" in done.stdout
    urls = [str(path) for path in sorted(out.glob("*.tar"))]
    read = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    assert len(read) == 8
    assert all(min(sample["png"].size) == 48 for sample in read)


def test_shards_made_by_other_tools_are_read(photos, tmp_path):
    """A plain tar, labels beside the pictures, as ImageNet's webdataset shards have them."""
    (tmp_path / "0.cls").write_text("7")
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for path in sorted(photos.iterdir()):
            tar.add(path, f"n0/{path.name}")
            tar.add(tmp_path / "0.cls", f"n0/{path.stem}.cls")
    folder, shard = crops(data(photos), 2), crops(data(tmp_path), 2)
    assert all(torch.equal(a, b) for a, b in zip(folder, shard, strict=True))


def sparse(name: str, size: int) -> bytes:
    """A member of 512 bytes that says to be of another size, holes included."""
    info = tarfile.TarInfo(name)
    info.type, info.size = tarfile.GNUTYPE_SPARSE, tarfile.BLOCKSIZE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, tarfile.BLOCKSIZE)
    header[483:495] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(tarfile.BLOCKSIZE)


@pytest.mark.parametrize("size", [1 << 50, 1 << 70])
def test_members_with_holes_are_passed_over(photos, tmp_path, size):
    pack(photos, tmp_path)
    shard = tmp_path / "000000.tar"
    before = [(source.name, source.read()) for source in find_sources(tmp_path)]
    shard.write_bytes(sparse("a.png", size) + shard.read_bytes())
    assert [(source.name, source.read()) for source in find_sources(tmp_path)] == before


def test_headers_that_cannot_be_are_refused(tmp_path):
    shard = tmp_path / "a.tar"
    with tarfile.open(shard, "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a.png")
        info.pax_headers = {"GNU.sparse.map": "no number"}
        tar.addfile(info)
    with pytest.raises(InvalidArgumentError, match=r"shard: .* got: invalid literal"):
        find_sources(tmp_path)
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type = tarfile.GNUTYPE_LONGNAME
    shard.write_bytes(long_name.tobuf(tarfile.GNU_FORMAT) * 5000)
    with pytest.raises(InvalidArgumentError, match=r"shard: .* got: maximum recursion"):
        find_sources(tmp_path)
