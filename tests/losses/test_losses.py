# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from glc.errors import InvalidArgumentError
from glc.losses.adversarial import (
    PatchDiscriminator,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
)
from glc.losses.code_prediction import code_distortion
from glc.losses.perceptual import (
    TinyDarknetFeatures,
    VGGFeatures,
    lpips_vgg,
    squeezenet_distance,
    tinydarknet_distance,
)
from glc.losses.rate import SMOOTHING, LambdaController
from glc.models.config import PredictorConfig
from glc.models.predictor import CodePredictor
from glc.training.config import FeatureLossConfig
from glc.training.features import perceptual_distance


def test_discriminator_has_the_authors_layout(shared_data):
    manifest = shared_data.parent / "docs" / "vqgan_discriminator_manifest.json"
    if not manifest.exists():
        pytest.skip("no manifest of the authors' discriminator beside the shared data")
    layout = {k: list(t.shape) for k, t in PatchDiscriminator().state_dict().items()}
    assert layout == json.loads(manifest.read_text())


def test_discriminator_size_is_the_published_one():
    assert sum(p.numel() for p in PatchDiscriminator().parameters()) == 6_960_961


def test_hinge_losses():
    real, fake = torch.full((2, 1, 3, 3), 0.25), torch.full((2, 1, 3, 3), -2.0)
    assert discriminator_loss(real, fake).item() == pytest.approx(0.5 * 0.75)
    assert generator_loss(fake).tolist() == [2.0, 2.0]


def test_adaptive_weight_is_the_ratio_of_gradients():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    wanted, got = 0.3 * weight.sum(), 0.6 * weight.sum()
    assert adaptive_weight(wanted, got, weight).item() == pytest.approx(0.5, abs=1e-3)
    assert adaptive_weight(got, wanted, weight).item() == 1.0  # clamped


def test_code_distortion_by_hand():
    l, l_hat = torch.zeros(1, 2, 1, 2), torch.ones(1, 2, 1, 2)
    logits = torch.zeros(1, 2, 4)
    got = code_distortion(l, l_hat, torch.zeros(1, 1, 2, dtype=torch.int64), logits)
    assert got.item() == pytest.approx(0.5 * torch.log(torch.tensor(4.0)).item() + 1.0)


def test_predictor_learns_and_refuses_other_sizes():
    torch.manual_seed(0)
    config = PredictorConfig(positions=16, width=16, heads=2, layers=1, ffn_width=16)
    predictor = CodePredictor(config, 8, 5)
    l_hat, index = torch.randn(2, 8, 4, 4), torch.randint(5, (2, 4, 4))
    optimizer = torch.optim.Adam(predictor.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = code_distortion(l_hat, l_hat, index, predictor(l_hat)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(InvalidArgumentError, match="16 positions, got 4"):
        predictor(l_hat[..., :2, :2])


def test_controller_finds_the_targets():
    """Against a world where rate = 0.1 lambda^0.35 (measured on a real run, see the docs)."""
    controller = LambdaController((0.1, 0.1), (0.03, 0.09), gain=0.02)
    level = torch.tensor([0, 1])
    for _ in range(3000):
        bpp = 0.1 * controller.weights(level) ** 0.35
        controller.observe(level, bpp, steer=True)
    assert controller.rates() == pytest.approx([0.03, 0.09], rel=0.02)
    again = LambdaController((0.1, 0.1), (0.03, 0.09), gain=0.02)
    again.load_state_dict(controller.state_dict())
    assert again.weights(level).tolist() == controller.weights(level).tolist()


@pytest.mark.parametrize(
    ("lambdas", "targets", "name"),
    [
        ((0.1, 0.2), (0.05,), "targets: expected 2, one per level"),
        ((0.1, 0.2), (0.05, -0.1), "targets: expected numbers above 0"),
        ((0.1, -0.2), (), "lambdas: expected numbers above 0"),
        ((0.1, float("nan")), (), "lambdas: expected numbers above 0"),
    ],
)
def test_controller_refuses_what_has_no_logarithm_or_no_level(lambdas, targets, name):
    with pytest.raises(InvalidArgumentError, match=f"^LambdaController: {name}"):
        LambdaController(lambdas, targets, gain=0.02)


def test_controller_stands_still_without_targets():
    controller = LambdaController((0.1, 0.2), (), gain=0.02)
    controller.observe(torch.tensor([1]), torch.tensor([0.5]), steer=True)
    level = torch.tensor([0, 1])
    assert controller.balance(level, 1.0).tolist() == pytest.approx([4 / 3, 2 / 3])
    assert controller.balance(level, 0.0).tolist() == [1.0, 1.0]
    assert controller.weights(torch.tensor([0, 1])).tolist() == pytest.approx([0.1, 0.2])
    assert controller.rates()[1] == pytest.approx(0.5)


@pytest.mark.parametrize("steer", [False, True])
def test_rates_are_means_of_a_level_and_moving_averages_of_steps(steer):
    controller = LambdaController((0.1, 0.2), (0.5, 0.5), gain=0.02)
    for low in (1.0, 2.0):
        level = torch.tensor([0, 1, 0])
        controller.observe(level, torch.tensor([low, 7.0, low + 2]), steer=steer)
    expected = (SMOOTHING * 2 + 3) / (SMOOTHING + 1)
    assert controller.rates() == pytest.approx([expected, 7.0])


def test_lambdas_of_levels_never_measured_stay():
    controller = LambdaController((0.1, 0.2, 0.3), (0.5, 0.5, 0.5), gain=0.1)
    for _ in range(20):
        controller.observe(torch.tensor([1]), torch.tensor([1.0]), steer=True)
    first, second, third = controller.weights(torch.arange(3)).tolist()
    assert (first, third) == pytest.approx((0.1, 0.3))
    assert second < 0.1
    controller.observe(torch.tensor([0]), torch.tensor([0.1]), steer=True)
    assert controller.weights(torch.tensor([0])).item() > 0.1


def test_rates_of_another_kind_are_forgotten_once_lambdas_move():
    """Stage II begins with noise, whose bits are not those of rounded symbols."""
    controller, level = LambdaController((0.1,), (0.5,), gain=0.1), torch.tensor([0])
    for _ in range(20):
        controller.observe(level, torch.tensor([2.0]), steer=False)
    assert controller.rates() == pytest.approx([2.0])
    again = LambdaController((0.1,), (0.5,), gain=0.1)
    again.load_state_dict(controller.state_dict())
    for resumed in (controller, again):
        for _ in range(2):
            resumed.observe(level, torch.tensor([0.5]), steer=True)
        assert resumed.rates() == pytest.approx([0.5])
        assert resumed.weights(level).item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("build", "file"),
    [
        (squeezenet_distance, "squeezenet1_1_caffe_features_rgb.pth"),
        (tinydarknet_distance, "tinydarknet_imagenet.pth"),
    ],
)
def test_feature_distance(shared_data, build, file):
    distance = build(shared_data / "weights" / file)
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    noisy = (x + 0.3 * torch.randn_like(x)).requires_grad_()
    assert distance(x, x).abs().max() < 1e-6
    far = distance(x, noisy)
    assert far.shape == (2,)
    assert (far > distance(x, x + 0.01)).all()
    far.sum().backward()
    assert noisy.grad is not None
    assert not any(p.requires_grad for p in distance.parameters())
    assert not distance.train().training


def test_feature_distance_refuses_other_files(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for path in (tmp_path / "other.pth", tmp_path / "missing.pth"):
        with pytest.raises(InvalidArgumentError, match="SqueezeNetFeatures"):
            squeezenet_distance(path)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """Random VGG-16 weights in torchvision's layout, classifier included, and random heads."""
    folder = tmp_path_factory.mktemp("vgg")
    torch.manual_seed(0)
    network = VGGFeatures(twice=False)
    torch.save({**network.state_dict(), "classifier.0.weight": torch.zeros(1)}, folder / "vgg.pth")
    heads = {f"lin{k}.model.1.weight": torch.rand(1, n, 1, 1) for k, n in enumerate(network.WIDTHS)}
    torch.save(heads, folder / "heads.pth")
    return folder, network, heads


@pytest.mark.parametrize("twice", [False, True])
def test_lpips_is_the_published_formula(vgg, twice):
    """Written out step by step, as the lpips package does, after the authors' normalisation."""
    folder, network, heads = vgg
    x, x_hat = (torch.rand(2, 3, 64, 48) * 2 - 1 for _ in range(2))
    distance = lpips_vgg(folder / "vgg.pth", folder / "heads.pth", twice=twice)
    assert not any(p.requires_grad for p in distance.parameters())
    ours = distance(x, x_hat)

    def maps(image):
        if twice:
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (network.MEAN, network.STD))
            image = ((image + 1) / 2 - mean) / std
        shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
        image = (image - shift) / torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
        taps = []
        for number, layer in enumerate(network.features):
            image = layer(image)
            if number in (3, 8, 15, 22, 29):  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3
                taps.append(image)
        return [tap / (tap.square().sum(1, keepdim=True).sqrt() + 1e-10) for tap in taps]

    wanted = sum(
        ((a - b).square() * heads[f"lin{k}.model.1.weight"]).sum(1).mean((1, 2))
        for k, (a, b) in enumerate(zip(maps(x), maps(x_hat), strict=True))
    )
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("content", [b"", b"hello world", b"# A page\n"])
def test_weights_that_are_none_are_refused_without_advice_to_trust_them(tmp_path, content):
    """As torch gives it: to load with weights_only=False, and to file an issue."""
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    for load in (squeezenet_distance, tinydarknet_distance, lambda p: lpips_vgg(p, p)):
        with pytest.raises(InvalidArgumentError, match="something other than tensors") as error:
            load(path)
        assert "weights_only" not in str(error.value)


def test_published_lpips_heads_are_read(vgg, shared_data):
    folder, _, _ = vgg
    distance = lpips_vgg(folder / "vgg.pth", shared_data / "weights" / "lpips_v0.1_vgg.pth")
    assert all((head >= 0).all() for head in distance.heads)


def test_perceptual_terms_are_configured_by_name(vgg, shared_data):
    folder, _, _ = vgg
    cpu = torch.device("cpu")
    assert perceptual_distance(FeatureLossConfig(), cpu) is None
    weights, heads = str(folder / "vgg.pth"), str(folder / "heads.pth")
    vgg_config = FeatureLossConfig(network="lpips-vgg", weights=weights, heads=heads)
    assert isinstance(perceptual_distance(vgg_config, cpu).network, VGGFeatures)
    tiny = str(shared_data / "weights" / "tinydarknet_imagenet.pth")
    config = FeatureLossConfig(network="tinydarknet", weights=tiny)
    assert isinstance(perceptual_distance(config, cpu).network, TinyDarknetFeatures)
    with pytest.raises(InvalidArgumentError, match="SqueezeNetFeatures state dict"):
        perceptual_distance(FeatureLossConfig(weights=tiny), cpu)
    with pytest.raises(InvalidArgumentError, match="heads"):
        perceptual_distance(FeatureLossConfig(network="lpips-vgg", weights=weights), cpu)
    with pytest.raises(InvalidArgumentError, match="heads"):
        lpips_vgg(weights, weights)
