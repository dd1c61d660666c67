# SPDX-License-Identifier: Apache-2.0
"""A training step queues its work on a device and does not wait for any of it."""

import contextlib

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from glc.losses.code_prediction import code_distortion
from glc.losses.rate import LambdaController
from glc.models.config import preset
from glc.models.glc import GLC
from glc.models.predictor import CodePredictor
from glc.training.codebook import CodebookKeeper
from glc.training.config import CodebookConfig
from tests.cuda_kernels import as_on_a_device

# operators that read a value, or a number of values, which on a device are waited for
WAITING = {"item", "_local_scalar_dense", "is_nonzero", "nonzero", "bincount", "unique", "equal"}


def make_step(device, ema):
    """A step of Stage II as its `update` computes it."""
    torch.manual_seed(0)
    config = preset("glc-tiny")
    model = GLC(type(config)(**{**vars(config), "codebook_ema": ema})).train().to(device)
    predictor = CodePredictor(config.predictor, config.l_channels, config.codebook_size)
    predictor = predictor.to(device)
    keeper = CodebookKeeper(model.hyper_vq, CodebookConfig(start=0), 100)
    controller = LambdaController((0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4), 0.01)
    x = torch.rand(4, 3, 64, 64, device=device) * 2 - 1
    level = torch.arange(4, device=device)

    def step(number=1):
        with torch.no_grad():
            l = model.latents(x)
        index = model.image_vq.nearest(l)
        out = model.code_latent(l, level.float())
        keeper.observe(out.z.detach(), number)
        bpp = (out.bits_y + out.bits_z) / 64**2
        controller.observe(level, bpp, steer=True)
        distortion = code_distortion(l, out.l_hat, index, predictor(out.l_hat))
        weights = controller.weights(level) * controller.balance(level, 0.5)
        (bpp.mean() + (weights * distortion).mean() + out.hyper.loss).backward()
        return controller.metrics()

    return step


@pytest.mark.parametrize("ema", [None, 0.99])
def test_no_operator_of_a_step_reads_a_value(ema):
    step = make_step("cpu", ema)
    with as_on_a_device():
        step()
        with profile(activities=[ProfilerActivity.CPU]) as run:
            step()
    called = {event.key.removeprefix("aten::") for event in run.key_averages()}
    assert "conv2d" in called
    assert not called & WAITING


@contextlib.contextmanager
def waits_refused():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("ema", [None, 0.99])
def test_no_step_waits_for_the_device(ema):
    step = make_step("cuda", ema)
    step()
    with waits_refused():
        metrics = step()
    assert all(value.isfinite() for value in metrics.values())
