# SPDX-License-Identifier: Apache-2.0
"""Feature distances on pretrained networks whose weights the user supplies.

Only LPIPS on its own published backbones may be called LPIPS; every distance here is named
after the network it uses.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glc.errors import InvalidArgumentError
from glc.files import LOAD_ERRORS, load_complaint

FEATURE_EPS = 1e-10


class _Fire(nn.Module):
    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat((F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))), dim=1)


class SqueezeNetFeatures(nn.Module):
    """SqueezeNet 1.1 feature layers in the torchvision key layout (Iandola et al. 2016).

    Args:
        taps: layer numbers whose outputs are returned, ascending.
    """

    MEAN = (122.679, 116.669, 104.006)  # of RGB in 0..255, the Caffe weights' convention

    mean: Tensor

    def __init__(self, taps: Sequence[int] = (1, 4, 7)) -> None:
        super().__init__()
        pool = {2, 5, 8}
        fire = {
            3: (64, 16, 64),
            4: (128, 16, 64),
            6: (128, 32, 128),
            7: (256, 32, 128),
            9: (256, 48, 192),
            10: (384, 48, 192),
            11: (384, 64, 256),
            12: (512, 64, 256),
        }
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU()]
        layers += [
            nn.MaxPool2d(3, 2, ceil_mode=True) if i in pool else _Fire(*fire[i])
            for i in range(2, 13)
        ]
        self.features = nn.Sequential(*layers)
        self.taps = tuple(taps)
        self.register_buffer("mean", torch.tensor(self.MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[n, 3, h, w] float in [-1, 1] -> one feature map per tap."""
        x = (x + 1) * 127.5 - self.mean
        maps = []
        for number in range(self.taps[-1] + 1):
            x = self.features[number](x)
            if number in self.taps:
                maps.append(x)
        return maps


class TinyDarknetFeatures(nn.Module):
    """Tiny Darknet's convolutions (Redmon, public domain); taps before each pool and at the end."""

    CONVS = (
        (3, 16, 3), None, (16, 32, 3), None, (32, 16, 1), (16, 128, 3), (128, 16, 1),
        (16, 128, 3), None, (128, 32, 1), (32, 256, 3), (256, 32, 1), (32, 256, 3), None,
        (256, 64, 1), (64, 512, 3), (512, 64, 1), (64, 512, 3), (512, 128, 1),
    )  # (in, out, kernel); None pools  # fmt: skip
    STRIDES = (1, 2, 4, 8, 16)  # rows of the picture to a row of each tap
    SEES = 64  # rows above and below a strip of whole sixteens that its taps depend on, at most

    def __init__(self) -> None:
        super().__init__()
        convs = [c for c in self.CONVS if c is not None]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, k, padding=k // 2, bias=False) for a, b, k in convs
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(b, eps=1e-3) for _, b, _ in convs)
        self.head = nn.Conv2d(128, 1000, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[n, 3, h, w] float in [-1, 1] -> five feature maps."""
        x = (x + 1) / 2
        maps = []
        layers = zip(self.convs, self.bns, strict=True)
        for conv in self.CONVS:
            if conv is None:
                maps.append(x)
                x = F.max_pool2d(x, 2, 2, ceil_mode=True)
            else:
                convolution, norm = next(layers)
                x = F.leaky_relu(norm(convolution(x)), 0.1)
        return [*maps, x]


class VGGFeatures(nn.Module):
    """VGG-16's convolutions in torchvision's key layout; taps after the five stages of ReLUs.

    (Simonyan and Zisserman 2015)
    """

    CONVS = (64, 64, None, 128, 128, None, 256, 256, 256, None, 512, 512, 512, None, 512, 512, 512)
    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1]
    SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # LPIPS's own, in [-1, 1]
    WIDTHS = (64, 128, 256, 512, 512)

    shift: Tensor
    scale: Tensor

    def __init__(self, *, twice: bool) -> None:
        """Build the layers.

        Args:
            twice: normalise as the authors of GLC do in training: with ImageNet's mean and
                deviation in [0, 1] and then, again, with LPIPS's scaling layer (facts G).
        """
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for out in self.CONVS:
            if out is None:
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()]
                width = out
        self.features = nn.Sequential(*layers)
        shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.SHIFT, self.SCALE))
        if twice:  # ((x + 1) / 2 - mean) / std, then (. - shift) / scale
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.MEAN, self.STD))
            shift, scale = 2 * (mean + std * shift) - 1, 2 * std * scale
        self.register_buffer("shift", shift, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[n, 3, h, w] float in [-1, 1] -> five feature maps."""
        x = (x - self.shift) / self.scale
        maps = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return [*maps, x]


class FeatureDistance(nn.Module):
    """Squared distance of channel-normalised features, averaged over positions and taps.

    d(x, x_hat) = mean over taps and positions of |f/|f| - g/|g||^2, f and g the features of
    x and x_hat; the form of LPIPS (Zhang et al. 2018) without its learned linear heads. With
    them, channels are weighted by the heads and taps add up: that is LPIPS.

    Args:
        network: maps [n, 3, h, w] in [-1, 1] to a list of feature maps; frozen here.
        heads: [1, c, 1, 1] float32 weights per tap; None weighs all channels alike.
    """

    def __init__(self, network: nn.Module, heads: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.heads = None if heads is None else nn.ParameterList(h.clone() for h in heads)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> FeatureDistance:
        """Stay in evaluation mode: the network's statistics are fixed."""
        return super().train(False)

    def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Distance per sample.

        Args:
            x: [n, 3, h, w] float in [-1, 1], the original; no gradient flows to it.
            x_hat: [n, 3, h, w] float, the reconstruction.

        Returns:
            [n] float32, >= 0.
        """
        return self.mean(self.maps(x, x_hat))

    def maps(self, x: Tensor, x_hat: Tensor) -> list[Tensor]:
        """Distance per position of each tap, [n, h', w'] float32; arguments as `forward`."""
        with torch.no_grad():
            originals = self.network(x)
        taps = []
        for k, (f, g) in enumerate(zip(originals, self.network(x_hat), strict=True)):
            tap = (normalize(f) - normalize(g)).square()
            taps.append((tap if self.heads is None else tap * self.heads[k]).sum(1))
        return taps

    def mean(self, maps: Sequence[Tensor]) -> Tensor:
        """What `maps` gives -> the distance per sample, [n]."""
        taps = torch.stack([each.mean((1, 2)) for each in maps])
        return taps.mean(0) if self.heads is None else taps.sum(0)


def squeezenet_distance(weights: str | os.PathLike[str]) -> FeatureDistance:
    """Feature distance on SqueezeNet 1.1 layers 1, 4 and 7 (a stand-in, not LPIPS).

    Args:
        weights: a state dict in the torchvision layout, read with `weights_only=True`.

    Raises:
        InvalidArgumentError: the file is missing or does not hold this network.
    """
    return FeatureDistance(_load(SqueezeNetFeatures(), weights))


def tinydarknet_distance(weights: str | os.PathLike[str]) -> FeatureDistance:
    """Feature distance on Tiny Darknet (a stand-in, not LPIPS).

    Args and errors are those of `squeezenet_distance`.
    """
    return FeatureDistance(_load(TinyDarknetFeatures(), weights))


def lpips_vgg(
    weights: str | os.PathLike[str], heads: str | os.PathLike[str], *, twice: bool = True
) -> FeatureDistance:
    """LPIPS v0.1 on VGG-16, from the published weights (Zhang et al. 2018).

    Args:
        weights: torchvision's `vgg16` state dict; its classifier is not needed.
        heads: the linear heads as the lpips package ships them, `lpips/weights/v0.1/vgg.pth`.
        twice: see `VGGFeatures`; False gives the published distance.

    Raises:
        InvalidArgumentError: a file is missing or does not hold what it should.
    """
    network = _load(VGGFeatures(twice=twice), weights, prefix="features.")
    try:
        state = torch.load(heads, map_location="cpu", weights_only=True)
        widths = VGGFeatures.WIDTHS
        linear = [state[f"lin{k}.model.1.weight"].reshape(1, n, 1, 1) for k, n in enumerate(widths)]
    except LOAD_ERRORS as error:
        raise InvalidArgumentError(
            f"perceptual: heads: expected LPIPS v0.1 heads for VGG at {os.fspath(heads)}, got: "
            f"{load_complaint(error)}"
        ) from error
    return FeatureDistance(network, linear)


def _load(network: nn.Module, weights: str | os.PathLike[str], prefix: str = "") -> nn.Module:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        state = {k: v for k, v in state.items() if k.startswith(prefix)}
        network.load_state_dict(state, strict=True)
    except LOAD_ERRORS as error:
        raise InvalidArgumentError(
            f"perceptual: weights: expected a {type(network).__name__} state dict at "
            f"{os.fspath(weights)}, got: {load_complaint(error)}"
        ) from error
    return network


def normalize(features: Tensor) -> Tensor:
    """Features [n, c, h, w] of any floating dtype -> float32, of length 1 at every position."""
    features = features.float()
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + FEATURE_EPS)
