# SPDX-License-Identifier: Apache-2.0
"""Pictures to bytes and back: the one place where model, entropy coder and container meet."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from glc import _core
from glc._arguments import as_floats, in_range
from glc.bitstream import N_PARTS, TILE_UNIT, Header, accounting, check, pack, parse
from glc.defaults import DEFAULT_MODEL, DEFAULT_QUALITY, MAX_REFINE
from glc.entropy_path import OutOfRangeError, Part, Quantizer, Symbols, on_host, walk_parts
from glc.errors import BitstreamError, InvalidArgumentError, UnsupportedError
from glc.image import MAX_PIXELS, Metadata, load_image
from glc.loading import Data, checked_bytes, model_folder, read_networks
from glc.models.config import GLCConfig
from glc.payload import PayloadTables, join_tiles
from glc.pieces import (
    Piece,
    Progress,
    boxes,
    most_padded,
    padded_size,
    piece_report,
    read_pieces,
)
from glc.portable import PortableNetworks
from glc.portable.weights import ARITHMETIC_PROFILE
from glc.rate import MAX_LEVEL, MOST_TRIES, largest_within, level_of, top_level
from glc.report import Analysis, PartAnalysis, Report
from glc.strips import CoderNetworks, PictureNetworks, part_of, unheard
from glc.strips import Report as Tell

if TYPE_CHECKING:
    import torch

    from glc.model_in_use import WeightsInUse
    from glc.models.glc import GLC
    from glc.refinement import Refiner

__all__ = ["MAX_LEVEL", "Codec", "Latent", "Restored", "level_of"]

# of the range that y has on photographs, tried in turn until the model can code and draw it
_SHARES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.0)
_PLAUSIBLE = 2.5  # times a photograph's range, of what the decoder sees
_ANY_SIZE = (1 << 64) - 1  # pixels, bounded where the picture is read; or bytes


@dataclass(frozen=True)
class Restored:
    """A picture, and how far it can be relied upon.

    Attributes:
        pixels: [h, w, 3] uint8, sRGB.
        n_parts: parts behind the hyper indices that were used, 0 .. 4.
        verified: whether the file's checksum was found right.
    """

    pixels: NDArray[np.uint8]
    n_parts: int
    verified: bool

    @property
    def complete(self) -> bool:
        """Whether this is the picture the file was made for, without doubt."""
        return self.verified and self.n_parts == N_PARTS

    @property
    def label(self) -> str:
        """What was used, for the reader of the picture."""
        parts = f"parts 0..{self.n_parts - 1}" if self.n_parts else "no part, z alone,"
        return f"{'verified' if self.verified else 'unverified'}: {parts} of {N_PARTS}"


@dataclass(frozen=True)
class Latent:
    """What a file says of its picture, for whoever draws it.

    Attributes:
        y_hat: [1, N, h', w'] float32, multiplied by the step; the same bits on every machine.
        header: of the file; its quality, width and height are the picture's.
    """

    y_hat: NDArray[np.float32]
    header: Header


@dataclass(frozen=True)
class _Source:
    """A piece of a picture on its way to the symbols of a level.

    Attributes:
        features: [1, N, h, w], what y is made from at any level.
        refiner: searches for a better y; None leaves it.
    """

    features: NDArray[np.float32]
    refiner: Refiner | None

    def refined(
        self, y: NDArray[np.float32], z_index: NDArray[np.int64], quality: float, report: Tell
    ) -> NDArray[np.float32]:
        """y, or the better one that was searched for."""
        if self.refiner is None:
            return y
        return self.refiner.refine(y, z_index, self.features, quality, report)


class Codec:
    """A model joined to the entropy coder.

    Example:
        >>> codec = Codec("glc-image-small")
        >>> data = codec.encode("photo.jpg", quality=1.5)
        >>> pixels = codec.decode(data)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | GLC = DEFAULT_MODEL,
        device: str | torch.device = "cpu",
        *,
        picture_dtype: torch.dtype | None = None,
    ) -> None:
        """Load the model and the tables.

        On the CPU a model that draws by exact layers, as the bundled one does, needs no torch; it
        gives the same file and the same picture on every CPU. Of other models, and on a device, the
        symbols are the same ones everywhere, and torch draws.

        Args:
            model: a bundled model's name, a folder made by `save_pretrained`, or a model, which is
                put in evaluation mode and moved to `device`. A model that is trained on needs a new
                codec: this one's tables and fingerprint are of the weights it was given.
            device: where the networks run; the entropy path too, with the same symbols, where glc
                was built with kernels for it, and on the CPU otherwise.
            picture_dtype: in which the decoder draws the picture from its symbols, which do not
                depend on it: float32 (on a device with TF32, if torch is allowed to), bfloat16 or
                float16. None is float32 on the CPU, and on a
                CUDA device float16, in which a picture is within rounding of float32's, with
                bfloat16 where a picture's values are too large for it.

        Raises:
            InvalidArgumentError: no such model or device, the folder holds no model, a model's
                weights are not float32 or not what exact layers take, or another picture_dtype.
        """
        self._networks: PictureNetworks
        self._coder_networks: CoderNetworks
        self._model: GLC | None = None
        self._in_use: WeightsInUse | None = None
        portable = None
        if isinstance(model, str | os.PathLike) and picture_dtype is None and _is_plain_cpu(device):
            portable = read_networks(model_folder(model))
        if portable is None:
            self._take_model(model, device, picture_dtype)
        else:
            self._networks = self._coder_networks = portable
            self._weights = portable.weights
        self.fingerprint: bytes = self._weights.fingerprint
        self._tables = PayloadTables(self._weights.prior)

    def _take_model(
        self,
        given: str | os.PathLike[str] | GLC,
        device: str | torch.device,
        picture_dtype: torch.dtype | None,
    ) -> None:
        """Make the networks of a model that is in memory, or has to be."""
        import torch

        from glc.model_in_use import (
            checked_device,
            checked_model,
            coding_networks,
            picture_networks,
        )
        from glc.models.glc import GLC
        from glc.ops._cuda import takes
        from glc.torch_networks import Networks

        if picture_dtype not in (None, torch.float32, torch.bfloat16, torch.float16):
            raise InvalidArgumentError(
                f"codec: picture_dtype: expected float32, bfloat16 or float16, got {picture_dtype}"
            )
        if isinstance(given, GLC):
            model = checked_model(given)
        else:
            model = GLC.from_pretrained(model_folder(given))
        model.eval().to(checked_device(device))
        coder = coding_networks(model)
        self._weights = coder.weights
        self._networks = picture_networks(model, coder, picture_dtype)
        self._coder_networks = coder
        if isinstance(self._networks, Networks) and takes(model.g_a.q):
            self._coder_networks = self._networks
        self._use(model)

    def _use(self, model: GLC) -> GLC:
        """Keep a model, and watch its weights."""
        from glc.model_in_use import WeightsInUse

        self._model = model
        copied = isinstance(self._networks, PortableNetworks)
        self._in_use = WeightsInUse(model, copied=copied)
        return model

    @property
    def model(self) -> GLC:
        """The model; a codec that needed no torch makes it now, of the weights it codes with."""
        if self._model is None:
            from glc.model_in_use import model_of

            return self._use(model_of(self._weights))
        return self._model

    @property
    def config(self) -> GLCConfig:
        """The model's layout."""
        return self._weights.config

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        import torch

        return torch.device("cpu") if self._model is None else self._model.g_a.q.device

    def __getstate__(self) -> dict[str, Any]:
        self._require_same_weights()
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._model is not None:
            self._use(self._model)

    def encode(
        self,
        image: Any,
        quality: float | None = None,
        target_bytes: int | None = None,
        *,
        metadata: Metadata | None = None,
        tile: int | None = None,
        refine: int = 0,
        progress: Progress | None = None,
    ) -> bytes:
        """Compress a picture.

        Args:
            image: a path, a PIL image, a uint8 array [h, w, 3], or a float tensor [3, h, w] in
                [0, 1]; see `load_image` for what happens to orientation, colour and alpha.
            quality: 0 (smallest file) to 3, rounded to a 21st; 2 unless told.
            target_bytes: instead of a quality, the size not to exceed, metadata included. The
                highest level found to fit by bisection is taken.
            metadata: to keep beside the picture; see `load_with_metadata`.
            tile: code squares of so many pixels independently, a multiple of 64 and of the
                model's `pad_multiple`. For models with whole-picture normalisation, whose memory
                it bounds; seams may show.
            refine: steps by which the latent is refined for this very picture. 25 save 13 % of the
                bits at equal PSNR, 5 % at equal MS-SSIM. Each takes about twice as long as
                decoding, for every level that `target_bytes` tries; the decoder does nothing more.
            progress: called with (step name, fraction done) as the work goes on.

        Returns:
            The whole `.glc` file.

        Raises:
            InvalidArgumentError: not a picture, too thin a one, quality, tile or refine out of
                range, both limits given, even the lowest quality does not fit `target_bytes`, steps
                to refine with a model of a single level, the model cannot code or draw this
                picture, or its weights were changed since the codec was made.
        """
        if None not in (quality, target_bytes):
            raise InvalidArgumentError("encode: expected a quality or target_bytes, got both")
        level = level_of(DEFAULT_QUALITY if quality is None else quality)
        if target_bytes is not None:
            target_bytes = in_range("encode: target_bytes", target_bytes, -_ANY_SIZE, _ANY_SIZE)
        tile_units = self._tile_units(tile)
        refine = in_range("encode: refine", refine, 0, MAX_REFINE)
        if refine and self.config.levels == 1:
            raise InvalidArgumentError(
                "encode: refine: expected 0 with this model, whose single level does not tell what "
                f"a bit is worth, got {refine}"
            )
        self._require_same_weights()
        pixels = load_image(image)
        height, width = pixels.shape[:2]
        self._require_size(height, width)
        report = progress or (lambda _step, _fraction: None)
        with self._computing():
            places = boxes(height, width, tile_units)
            sources = []
            tries = 1 if target_bytes is None else MOST_TRIES
            share = 1 / (1 + tries)  # of the latents, which take about as long as a level
            for n, box in enumerate(places):
                tell = piece_report(report, "latents", share, n, places)
                features = self._networks.features(pixels[box], tell)
                sources.append(_Source(features, self._refiner(pixels[box], refine)))
            del pixels

            header = Header(
                width=width, height=height, model_id=self.fingerprint[:2], tile=tile_units
            )

            def encode_level(level: int, tell: Tell = unheard) -> bytes:
                return self._encode_level(sources, replace(header, level=level), metadata, tell)

            if target_bytes is None:
                report(f"level {level}", share)
                data = encode_level(
                    level, lambda done: report(f"level {level}", share + (1 - share) * done)
                )
            else:
                top = top_level(self.config.levels)
                data = largest_within(target_bytes, encode_level, report, top=top)
            self._require_readable(data)
            report("file", 1.0)
            return data

    def encode_latent(
        self,
        y: Any,
        quality: float,
        *,
        height: int,
        width: int,
        metadata: Metadata | None = None,
    ) -> bytes:
        """Code a picture whose y another runtime computed; see `export_onnx`.

        Hyper indices and symbols are found here, so that the file is as any other: every decoder
        reads the same y_hat from it.

        Args:
            y: [1, N, h', w'] numbers, an array or a tensor on the CPU: of the picture padded to
                multiples of `pad_multiple`, at this quality.
            quality: 0 to 3. A file names multiples of a 21st: another is rounded, and y is then of
                a quality slightly beside the file's.
            height: of the picture without padding, pixels.
            width: likewise.
            metadata: to keep beside the picture; see `load_with_metadata`.

        Returns:
            The whole `.glc` file.

        Raises:
            InvalidArgumentError: y of another shape or not finite, a quality or a size out of
                range, the model cannot code or draw this y, or the weights were changed, as
                `encode`.
        """
        level = level_of(quality)
        if level > top_level(self.config.levels):
            raise InvalidArgumentError(
                f"encode: quality: expected at most {self.config.levels - 1} with this model, got "
                f"{quality}"
            )
        self._require_same_weights()
        height, width = (
            in_range(f"encode: {name}", side, 1, MAX_PIXELS)
            for name, side in (("height", height), ("width", width))
        )
        self._require_size(height, width)
        cells = (4 * -(-side // self.config.pad_multiple) for side in (height, width))
        shape = (1, self.config.latent_channels, *cells)
        latent = np.array(as_floats(y, "y", np.float32, op="encode"))  # read-only ones are not lent
        if latent.shape != shape or not np.isfinite(latent).all():
            got = "others" if latent.shape == shape else list(latent.shape)
            raise InvalidArgumentError(
                f"encode: y: expected finite values, {list(shape)} for {width}x{height} pixels, "
                f"got {got}"
            )
        header = Header(width=width, height=height, model_id=self.fingerprint[:2], level=level)
        with self._computing():
            coded = self._quantize(latent, header.quality)
            piece = self._tables.write(level, coded.z_index, coded.parts)
            data = self._pack(header, [piece], metadata)
            self._require_readable(data)
            return data

    def decode(
        self, data: Data, *, max_pixels: int = MAX_PIXELS, progress: Progress | None = None
    ) -> NDArray[np.uint8]:
        """Restore the picture of a file.

        Args:
            data: the whole file.
            max_pixels: refuse a file that claims more pixels than this.
            progress: called with (step name, fraction done) as the work goes on.

        Returns:
            [h, w, 3] uint8, sRGB.

        Raises:
            BitstreamError: damaged, truncated, made by another model, too many pixels, or a picture
                that is not finite.
            UnsupportedError: written by another version.
            InvalidArgumentError: data is not bytes, or the weights were changed, as `encode`.
        """
        return self.restore(data, max_pixels=max_pixels, progress=progress).pixels

    def restore(
        self,
        data: Data,
        *,
        until: int = N_PARTS,
        partial: bool = False,
        max_pixels: int = MAX_PIXELS,
        progress: Progress | None = None,
    ) -> Restored:
        """Restore a picture from all of a file or from its beginning.

        Args:
            data: the file, or with `partial` what there is of it.
            until: parts to use behind the hyper indices, 0 .. 4; each makes the picture better.
            partial: whether a file that was cut, or whose checksum is wrong, may be drawn as far as
                its parts are whole. The result then says `verified` False.
            max_pixels: refuse a file that claims more pixels than this.
            progress: called with (step name, fraction done) as the work goes on.

        Returns:
            The picture and what it was made from.

        Raises:
            BitstreamError: as `decode`; with `partial`, only when not even the hyper indices are
                there, the cut file is tiled, or what its parts draw is not finite.
            UnsupportedError: written by another version.
            InvalidArgumentError: until out of range, or as `decode`.
        """
        until = in_range("decode: until", until, 0, N_PARTS)
        report = progress or (lambda _step, _fraction: None)
        data = checked_bytes(data)
        with self._computing():
            report("symbols", 0.0)
            verified = self._check(data, partial=partial)
            header, pieces = self._read(data, max_pixels, until=until, cut=not verified)
            try:
                pixels = np.empty((header.height, header.width, 3), np.uint8)
            except ValueError as error:  # numpy's word for more than can be addressed
                raise MemoryError from error
            n_parts = N_PARTS
            places = boxes(header.height, header.width, header.tile)
            for n, piece in enumerate(pieces):
                tell = piece_report(report, "pixels", 1.0, n, places, begin=0.2)
                height, width = (side.stop - side.start for side in piece.box)
                drawn = self._networks.pixels(
                    piece.symbols.latent, header.quality, (height, width), tell
                )
                n_parts = min(n_parts, piece.n_parts)
                if header.tile:
                    pixels[piece.box] = drawn
                else:
                    pixels = drawn
        return Restored(pixels, n_parts, verified)

    def decode_latent(self, data: Data, *, max_pixels: int = MAX_PIXELS) -> Latent:
        """Read a file as far as y_hat, for another runtime to draw; see `export_onnx`.

        Args:
            data: the whole file.
            max_pixels: refuse a file that claims more pixels than this.

        Returns:
            y_hat, and the header.

        Raises:
            BitstreamError: as `decode`.
            UnsupportedError: as `decode`, or the picture is in several tiles.
            InvalidArgumentError: as `decode`.
        """
        data = checked_bytes(data)
        with self._computing():
            self._check(data)
            header, pieces = self._read(data, max_pixels)
            if len(boxes(header.height, header.width, header.tile)) > 1:
                raise UnsupportedError(
                    "decode: tile: expected a picture in one piece, got one in tiles of "
                    f"{header.tile * TILE_UNIT} pixels"
                )
            (piece,) = pieces
        return Latent(on_host(piece.symbols.latent), header)

    def analyze(self, data: Data, *, max_pixels: int = MAX_PIXELS) -> Analysis:
        """Account for every bit of a file.

        Args:
            data: the whole file.
            max_pixels: refuse a file that claims more pixels than this.

        Returns:
            Bits per field and part, which sum to the file size, and the model's own estimate.

        Raises:
            BitstreamError: as `decode`.
            UnsupportedError: written by another version.
            InvalidArgumentError: as `decode`.
        """
        data = checked_bytes(data)
        with self._computing():
            self._check(data)
            header, pieces = self._read(data, max_pixels)
            index = self._tables.index(header.level)
            z_symbols, z_bits = 0, 0.0
            parts: list[PartAnalysis] = []
            for piece in pieces:
                z_symbols += piece.symbols.z_index.size
                z_bits += index.cost_bits(piece.symbols.z_index)
                found = [self._analyze_part(part) for part in piece.symbols.parts]
                parts = [a + b for a, b in zip(parts, found, strict=True)] if parts else found
        return Analysis(
            header=header,
            fields=accounting(data),
            z_symbols=z_symbols,
            z_bits=z_bits,
            z_estimated_bits=z_symbols * float(np.log2(self.config.hyper_codebook_size)),
            parts=tuple(parts),
            file_bytes=len(data),
        )

    def verify(self, data: Data, *, max_pixels: int = MAX_PIXELS) -> Report:
        """Check a file as far as it can be without drawing the picture.

        Container, checksum, model, every coded symbol, and the coder's closing state are checked.

        Args:
            data: the whole file.
            max_pixels: refuse a file that claims more pixels than this.

        Returns:
            What the file holds.

        Raises:
            BitstreamError: as `decode`.
            UnsupportedError: written by another version.
            InvalidArgumentError: as `decode`.
        """
        data = checked_bytes(data)
        self._check(data)
        header, pieces = self._read(data, max_pixels)
        n_symbols = 0
        for piece in pieces:
            n_symbols += 2 * piece.symbols.z_index.size
            n_symbols += sum(part.symbols.size for part in piece.symbols.parts)
        return Report(
            header=header, file_bytes=len(data), symbols=n_symbols, portable=header.portable
        )

    def export(self, *, encoder: bool = False) -> bytes:
        """Make the model one file, for codecs without Python; see `glc.export`.

        Args:
            encoder: also what encoding takes.

        Returns:
            What `glc::codec::Decoder` and `glc_codec_decoder_create` take, and with `encoder` their
            encoders too: safetensors.

        Raises:
            UnsupportedError: the model draws by other than exact layers, as a VQGAN does, or is not
                as its configuration makes it.
            InvalidArgumentError: its weights were changed, as `encode`.
        """
        from glc.export import exported

        self._require_same_weights()
        if not isinstance(self._coder_networks, PortableNetworks):
            raise UnsupportedError(
                "export: model: expected one that draws by exact layers, as glc-image-small does, "
                "got another, which native codecs cannot draw"
            )
        return exported(self._weights, encoder=encoder)

    def export_onnx(self, *, encoder: bool = False) -> bytes:
        """Make the networks that draw an ONNX graph, for other runtimes: y_hat to x_hat.

        `decode_latent` gives the y_hat of a file. What a runtime draws is within rounding of what
        `decode` does, and not the same bits.

        Args:
            encoder: the graph from x to y instead, of which `encode_latent` makes a file.

        Returns:
            An ONNX file, which docs/onnx.md describes.

        Raises:
            UnsupportedError: torch finds no graph of what the model's networks do.
            InvalidArgumentError: its weights were changed, as `encode`.
            ModuleNotFoundError: torch, onnx or onnxscript is not installed.
        """
        self._require_same_weights()
        model = self.model  # before the import: of what is missing, torch is named first
        from glc.models.onnx_graph import onnx_graph

        return onnx_graph(model, encoder=encoder)

    def _refiner(self, pixels: NDArray[np.uint8], steps: int) -> Refiner | None:
        if not steps:
            return None
        from glc.refinement import Refiner
        from glc.torch_networks import Networks

        return Refiner(Networks(self.model), self._weights.map_range, pixels, steps)

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """What the networks' calls need around them."""
        with self._networks.computing(), self._coder_networks.computing():
            yield

    def _encode_level(
        self,
        sources: Sequence[_Source],
        header: Header,
        metadata: Metadata | None,
        report: Tell,
    ) -> bytes:
        quality = header.quality
        pieces = []
        for n, source in enumerate(sources):
            tell = part_of(report, n, len(sources))
            y = self._networks.analysis(source.features, quality)
            coded = self._quantize(
                y, quality, partial(source.refined, quality=quality, report=tell)
            )
            pieces.append(self._tables.write(header.level, coded.z_index, coded.parts))
        return self._pack(header, pieces, metadata)

    def _pack(
        self, header: Header, pieces: Sequence[tuple[int, bytes]], metadata: Metadata | None
    ) -> bytes:
        if header.tile:
            return pack(header, join_tiles(pieces), self.fingerprint, metadata)
        ((descriptor, payload),) = pieces
        return pack(replace(header, coder=descriptor), payload, self.fingerprint, metadata)

    def _quantize(
        self,
        y: NDArray[np.float32],
        quality: float,
        refined: Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]
        | None = None,
    ) -> Symbols:
        """The symbols of a picture.

        Where y is unlike that of all photographs, it is held ever more tightly until the context
        can code it and the decoder can draw it. Else it is `refined`, if asked for.
        """
        networks, bounds = self._networks, self._weights.map_range

        def quantize(y: NDArray[np.float32], z_index: NDArray[np.int64]) -> Symbols:
            quantizer = Quantizer(y, self._tables.y.rows, self._tables.n_zero_rows)
            return walk_parts(self._coder_networks, z_index, quantizer)

        def is_plausible(symbols: Symbols) -> bool:
            latent = on_host(symbols.latent)
            return bounds.holds_y(latent, quality, _PLAUSIBLE) and bounds.holds_l_hat(
                networks.synthesis(latent, quality), _PLAUSIBLE
            )

        def quantize_held(share: float) -> Symbols:
            held = bounds.limit_y(y, quality, share)
            return quantize(held, networks.hyper_index(held))

        if bounds.holds_y(y, quality):
            z_index = networks.hyper_index(y)
            return quantize(y if refined is None else refined(y, z_index), z_index)
        for share in _SHARES[:-1]:
            with contextlib.suppress(OutOfRangeError):
                symbols = quantize_held(share)
                if is_plausible(symbols):
                    return symbols
        symbols = quantize_held(_SHARES[-1])
        if not np.isfinite(networks.synthesis(on_host(symbols.latent), quality)).all():
            raise OutOfRangeError("encode: l_hat: expected finite values from the model")
        return symbols

    def _require_readable(self, data: bytes) -> None:
        """Read a file back: symbols that can be coded may be more than g_s and D can draw.

        Raises:
            OutOfRangeError: what is drawn is not finite.
        """
        if self._weights.map_range.fitted:  # photographs have shown what is drawn
            return
        try:
            self.restore(data)
        except BitstreamError as error:
            raise OutOfRangeError(
                f"encode: picture: expected one whose file decodes again, got {error}"
            ) from error

    def _check(self, data: bytes, *, partial: bool = False) -> bool:
        """Whether the checksum is right; another model, or a wrong one unasked for, raises."""
        self._require_same_weights()
        header, _ = parse(data, max_pixels=_ANY_SIZE, cut=True)
        if header.profile != ARITHMETIC_PROFILE:
            raise UnsupportedError(
                f"decode: profile: expected {ARITHMETIC_PROFILE}, got {header.profile}: such a "
                "file needs the arithmetic of the machine and release that wrote it"
            )
        verified = True
        try:
            check(data, self.fingerprint)
        except BitstreamError:
            if not partial or header.model_id.hex() != self.fingerprint[:2].hex():
                raise
            verified = False
        most = top_level(self.config.levels)
        if header.level > most:
            raise BitstreamError(
                f"decode: level: expected at most {most} with this model, got {header.level} "
                "(at byte 6)"
            )
        return verified

    def _read(
        self, data: bytes, max_pixels: int, *, until: int = N_PARTS, cut: bool = False
    ) -> tuple[Header, Iterator[Piece]]:
        networks, tables = self._coder_networks, self._tables
        return read_pieces(networks, tables, data, max_pixels=max_pixels, until=until, cut=cut)

    def _analyze_part(self, part: Part) -> PartAnalysis:
        symbols = part.symbols[None].astype(np.float32)
        estimate = np.empty_like(symbols)
        latents = (symbols, np.zeros_like(symbols), on_host(part.scale)[None])
        _core.gaussian_bits(latents, None, estimate, None)
        return PartAnalysis(
            threshold=part.threshold,
            symbols=part.symbols.size,
            coded=int(part.coded.sum()),
            nonzero=int(np.count_nonzero(part.symbols)),
            bits=self._tables.part_bits(part),
            estimated_bits=float(estimate.sum(dtype=np.float64)),
        )

    def _require_same_weights(self) -> None:
        if self._in_use is not None and self._in_use.changed():
            raise InvalidArgumentError(
                "codec: model: expected the weights and hooks it was made with, got others; make a "
                "new Codec of a model that was changed"
            )

    def _require_size(self, height: int, width: int) -> None:
        if height * width > MAX_PIXELS:
            raise InvalidArgumentError(
                f"encode: image: expected at most {MAX_PIXELS} pixels, got {width}x{height}"
            )
        multiple = self.config.pad_multiple
        if padded_size(height, width, multiple) > most_padded(MAX_PIXELS, multiple):
            raise InvalidArgumentError(
                f"encode: image: expected at most {2 * MAX_PIXELS} pixels with sides padded to "
                f"multiples of {multiple}, got {width}x{height}"
            )

    def _tile_units(self, tile: int | None) -> int:
        if tile is None:
            return 0
        multiple = math.lcm(self.config.pad_multiple, TILE_UNIT)  # the file counts in these units
        tile = in_range("encode: tile", tile, -(1 << 31), 1 << 31)
        if tile < multiple or tile % multiple:
            raise InvalidArgumentError(
                f"encode: tile: expected a multiple of {multiple} pixels, got {tile}"
            )
        return tile // TILE_UNIT


def _is_plain_cpu(device: str | torch.device) -> bool:
    """Whether a device is the CPU, and does not stand in for one with kernels."""
    if getattr(_core, "CUDA_DEVICE", None) == "cpu":  # a build whose kernels are emulated
        return False
    return str(device) == "cpu"
