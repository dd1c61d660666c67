# SPDX-License-Identifier: Apache-2.0
"""Picture networks as ONNX graphs, run by ONNX Runtime beside torch's, and files made with them."""

import dataclasses
import itertools
import logging.handlers
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import glc
from glc.cli import app
from glc.codec import Codec
from glc.errors import InvalidArgumentError, UnsupportedError
from glc.models import GLC, preset
from tests.faces import SMALL_FACE

REASON = "runs graphs: pip install -r requirements/onnx.txt"
onnx = pytest.importorskip("onnx", reason=REASON)
pytest.importorskip("onnxscript", reason=REASON)
onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)

# Two runtimes add the same float32 products in another order; y and x_hat are of the order of one.
TOLERANCE = 4e-5

# samples, and sides of z, a position of which is 4 of y; the graphs were made of 2, 2 and 3
SIZES = [(1, 1, 1), (1, 2, 5), (2, 3, 1)]
FACE = dataclasses.replace(
    SMALL_FACE,
    transform_blocks=0,
    autoencoder=dataclasses.replace(
        SMALL_FACE.autoencoder, channel_multipliers=(1, 2), res_blocks=0, attention_window=5
    ),
)
# the joints that the authors' layout has and that of faces has not
IMAGE = dataclasses.replace(
    FACE,
    transform_blocks=1,
    autoencoder=dataclasses.replace(
        FACE.autoencoder, final_swish=True, quant_conv=True, extra_decoder_block=True
    ),
)


class Graph(NamedTuple):
    model: GLC
    encoder: bool
    session: Any

    def __call__(self, given: np.ndarray, quality: list[float]) -> np.ndarray:
        (made,) = self.session.run(
            None, {self.session.get_inputs()[0].name: given, "quality": np.float32(quality)}
        )
        return made


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the command has written the bundled model's decoder.onnx and encoder.onnx."""
    folder = tmp_path_factory.mktemp("graphs")
    heard = logging.handlers.BufferingHandler(capacity=1000)
    logging.getLogger("torch.onnx").addHandler(heard)
    for name, maps in (("decoder", "y_hat to x_hat"), ("encoder", "x to y")):
        output = folder / f"{name}.onnx"
        command = ["export", str(output), *(["--encoder"] if name == "encoder" else [])]
        done = CliRunner().invoke(app, command)  # its output is what it warns of, too
        assert done.output == f"{output}: {output.stat().st_size} bytes, {maps}, model 9ff5\n"
        assert CliRunner().invoke(app, command).exit_code == 2  # it is there
    logging.getLogger("torch.onnx").removeHandler(heard)
    assert not heard.buffer
    assert sorted(path.name for path in folder.iterdir()) == ["decoder.onnx", "encoder.onnx"]
    return folder


@pytest.fixture(scope="module")
def example(folder: Path, sample_path: Path) -> dict[str, Any]:
    """What the page's example leaves."""
    page = Path(__file__).resolve().parents[2] / "docs" / "onnx.md"
    (block,) = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    shutil.copy(sample_path, folder / "photo.png")
    left: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(block, "documentation", "exec"), left)
    return left


def session_of(graph: bytes) -> Any:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


CASES = [("glc-image-small", False), ("glc-image-small", True), ("glc-image", False)]


@pytest.fixture(scope="module", params=[*CASES, ("glc-face", True)], ids=str)
def graph(request: pytest.FixtureRequest, codec: Codec, folder: Path) -> Graph:
    name, encoder = request.param
    if name == "glc-image-small":
        file = folder / f"{'encoder' if encoder else 'decoder'}.onnx"
        return Graph(codec.model, encoder, session_of(file.read_bytes()))
    torch.manual_seed(1)
    model = GLC(FACE if name == "glc-face" else IMAGE).eval()
    with torch.no_grad():
        for transform in (model.g_a, model.g_s):
            transform.q.mul_(torch.linspace(0.5, 2, 4).reshape(4, 1, 1, 1))
    return Graph(model, encoder, session_of(Codec(model).export_onnx(encoder=encoder)))


@torch.no_grad()
def by_torch(graph: Graph, given: np.ndarray, quality: list[float]) -> np.ndarray:
    model, x, levels = graph.model, torch.from_numpy(given), torch.tensor(quality)
    if graph.encoder:
        return model.analysis(model.latents((x - 0.5) * 2), levels).numpy()
    x_hat = model.reconstruct(model.synthesis(x, levels))
    return (x_hat / 2 + 0.5).clamp(0, 1).numpy()


def map_of_photo(graph: Graph, photo: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """What the graph takes of a photograph, whose sides in positions of z are given."""
    samples, height, width = size
    side = graph.model.pad_multiple
    rows = np.pad(photo, ((0, 150), (0, 150), (0, 0)), mode="wrap")
    crops = [rows[n : n + side * height, n : n + side * width] for n in range(samples)]
    x = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255
    return x if graph.encoder else graph.model.inspect(torch.from_numpy(x), 1).y_hat.numpy()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_graph_computes_what_torch_does(
    graph: Graph, photo: np.ndarray, size: tuple[int, int, int]
) -> None:
    given = map_of_photo(graph, photo, size)
    others = [1.3, 3.0]  # a level for each sample; between two, theirs are interpolated
    results = []
    for quality in (0.0, 1.0, 2.0, 3.0, 2.6):
        qualities = [quality, *others][: len(given)]
        made, expected = graph(given, qualities), by_torch(graph, given, qualities)
        assert made.shape == expected.shape
        difference, largest = (float(np.abs(x).max()) for x in (made - expected, expected))
        assert difference <= TOLERANCE * max(1.0, largest)
        results.append(made[0])
    apart = [float(np.abs(a - b).max()) for a, b in itertools.pairwise(results)]
    assert min(apart) > 100 * TOLERANCE  # the levels are not all one


@pytest.mark.parametrize("quality", [-0.1, 3.1])
def test_a_quality_out_of_range_is_seen_in_the_result(
    graph: Graph, photo: np.ndarray, quality: float
) -> None:
    assert np.isnan(graph(map_of_photo(graph, photo, (1, 1, 1)), [quality])).all()


@pytest.mark.parametrize("name", ["decoder", "encoder"])
def test_what_is_in_the_file(codec: Codec, folder: Path, name: str) -> None:
    file = (folder / f"{name}.onnx").read_bytes()
    loaded = onnx.load_from_string(file)
    onnx.checker.check_model(loaded, full_check=True)
    assert [one.domain for one in loaded.opset_import] == [""]  # standard operators alone
    assert not loaded.functions
    values = [*loaded.graph.input, *loaded.graph.output]
    assert all(value.doc_string for value in values)
    shapes = {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in values
    }
    open_sides = ["height", "width"]
    if name == "encoder":
        maps = {
            "x": ["batch", 3, *open_sides],
            "y": ["batch", 96, "height/16", "width/16"],
        }
    else:
        maps = {
            "y_hat": ["batch", 96, *open_sides],
            "x_hat": ["batch", 3, "16*height", "16*width"],
        }
    assert shapes == {**maps, "quality": ["batch"]}
    assert {note.key: note.value for note in loaded.metadata_props} == {
        "fingerprint": codec.fingerprint.hex(),
        "pad_multiple": "64",
        "levels": "4",
    }
    assert b".py" not in file  # of the lines that torch made it from
    weights = {
        tensor.name.removeprefix("model."): onnx.numpy_helper.to_array(tensor)
        for tensor in loaded.graph.initializer
        if tensor.name.startswith("model.")
    }
    of_it = ("latent_encoder.", "g_a.") if name == "encoder" else ("latent_decoder.", "g_s.")
    state = {k: x.numpy() for k, x in codec.model.state_dict().items() if k.startswith(of_it)}
    assert {k for k in weights if not k.startswith("latent_range.")} == state.keys()
    assert all(np.array_equal(weights[k], x) for k, x in state.items())


@pytest.mark.parametrize("quality", [1, 57 / 21])
def test_files_by_way_of_the_graphs(example: dict[str, Any], quality: float) -> None:
    """As long as the codec's own, and as near to the picture: by each side alone, and by both."""
    codec, pixels = example["codec"], example["picture"]
    height, width = pixels.shape[:2]
    if quality == 1:
        data, restored = example["data"], example["restored"]
    else:
        levels = np.float32([quality])
        (y,) = example["encoder"].run(None, {"x": example["x"], "quality": levels})
        data = codec.encode_latent(y, quality, height=height, width=width)
        restored = None
    own = codec.encode(pixels, quality=quality)
    assert abs(len(data) - len(own)) <= 8  # where y lies between two symbols, either may be taken
    assert glc.verify(data).header.quality == quality

    def drawn(file: bytes) -> np.ndarray:
        latent = codec.decode_latent(file)
        levels = np.float32([latent.header.quality])
        (x_hat,) = example["decoder"].run(None, {"y_hat": latent.y_hat, "quality": levels})
        return np.rint(255 * x_hat[0]).astype(np.uint8).transpose(1, 2, 0)

    def psnr_db(picture: np.ndarray) -> float:
        return float(10 * np.log10(255**2 / np.square(picture - pixels.astype(float)).mean()))

    if restored is not None:
        assert np.array_equal(restored, drawn(data))
    expected = psnr_db(codec.decode(own))
    for picture in (drawn(own), codec.decode(data), drawn(data)):
        assert abs(psnr_db(picture) - expected) < 0.01
    assert np.abs(drawn(data).astype(int) - codec.decode(data)).max() <= 1


def test_networks_without_a_graph_are_refused() -> None:
    class Undecided(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    model = GLC(preset("glc-tiny"))
    model.g_s.first.insert(0, Undecided())
    with pytest.raises(UnsupportedError, match=r"^export: model: expected networks that torch"):
        Codec(model).export_onnx()


def test_a_changed_model_is_refused(tiny_folder: Path) -> None:
    model = GLC.from_pretrained(tiny_folder)
    codec = Codec(model)
    model.g_s.q.requires_grad_(False).add_(1)
    with pytest.raises(InvalidArgumentError, match="make a new Codec"):
        codec.export_onnx()
