# SPDX-License-Identifier: Apache-2.0
"""A codebook is drawn once, by the stage that brings it to life, and only dead rows are moved."""

import pytest
import torch

from glc.errors import InvalidArgumentError
from glc.ops.vector_quantizer import VectorQuantizer
from glc.training.checkpoint import read_checkpoint
from glc.training.cli import run
from glc.training.codebook import CodebookKeeper
from glc.training.config import CodebookConfig

STEPS = 20


def watched(config: CodebookConfig, **how) -> list[torch.Tensor]:
    """The codebook after each step of a run whose vectors are all far from where it starts."""
    torch.manual_seed(0)
    quantizer = VectorQuantizer(8, 2, ema_decay=0.99)
    keeper = CodebookKeeper(quantizer, config, STEPS, **how)
    after = []
    for step in range(STEPS):
        keeper.observe(100 + torch.rand(2, 2, 3, 3), step)
        after.append(quantizer.codebook.clone())
    return after


@pytest.mark.parametrize("reseed_until", [0.0, 0.2, 1.0])
def test_the_codebook_is_drawn_however_early_the_reseeding_ends(reseed_until):
    start = 10
    after = watched(CodebookConfig(start=start, reseed_until=reseed_until, reseed_every=100))
    assert all((rows < 100).all() for rows in after[: start - 1])
    assert all((rows >= 100).all() for rows in after[start - 1 :])


@pytest.mark.parametrize("start", [0, 1, 5])
def test_no_step_quantises_before_the_codebook_is_drawn(start):
    """What was counted of the rows before is not held against those that are drawn."""
    quantizer = VectorQuantizer(8, 2, ema_decay=0.99)
    config = CodebookConfig(start=start, reseed_every=1)
    keeper = CodebookKeeper(quantizer, config, STEPS)
    for step in range(max(start, 1)):
        assert not keeper.active(step)
        assert (quantizer.codebook < 100).any()
        z = 100 + torch.rand(2, 2, 3, 3)
        quantizer(z)  # in training a call counts, whether its outcome is used or not
        keeper.observe(z, step)
    assert keeper.active(max(start, 1))
    assert (quantizer.codebook >= 100).all()
    state = quantizer.training_state()
    assert torch.equal(state["row_weight"], torch.ones(8))
    assert torch.equal(state["row_usage"], torch.zeros(8))


@pytest.mark.parametrize("reseed_until", [0.0, 1.0])
def test_the_codebook_is_drawn_where_its_step_was_put_back(reseed_until):
    quantizer = VectorQuantizer(8, 2, ema_decay=0.99)
    keeper = CodebookKeeper(quantizer, CodebookConfig(start=4, reseed_until=reseed_until), STEPS)
    for step in (0, 1, 2, 6, 7):  # steps that are not finite are not observed
        assert keeper.active(step) == (step > 6)
        keeper.observe(100 + torch.rand(2, 2, 3, 3), step)
    assert (quantizer.codebook >= 100).all()


@pytest.mark.parametrize("step", [3, 4, 5])
def test_a_checkpoint_from_before_drawing_was_noted_goes_on(step):
    """Until then a codebook was drawn at the end of step number `start`."""
    quantizer = VectorQuantizer(8, 2, ema_decay=0.99)
    state = CodebookKeeper(quantizer, CodebookConfig(start=4), STEPS).state_dict()
    del state["drawn"]
    keeper = CodebookKeeper(quantizer, CodebookConfig(start=4), STEPS)
    keeper.load_state_dict(state)
    assert keeper.active(step) == (step > 4)
    keeper.observe(100 + torch.rand(2, 2, 3, 3), step)
    assert bool((quantizer.codebook >= 100).all()) == (step <= 4)


def test_a_run_that_ends_before_the_drawing_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"codebook\.start: expected less than steps"):
        watched(CodebookConfig(start=STEPS))


@pytest.mark.parametrize("start", [0, 5, 300])
def test_a_trained_codebook_is_never_drawn(start):
    after = watched(CodebookConfig(start=start, reseed_until=0.0, reseed_every=2), trained=True)
    assert all(torch.equal(rows, after[0]) for rows in after)
    assert (after[0] < 100).all()


def test_dead_rows_of_a_trained_codebook_are_moved_where_asked():
    torch.manual_seed(0)
    quantizer = VectorQuantizer(4, 2, ema_decay=0.99)
    before = quantizer.codebook.clone()
    config = CodebookConfig(reseed_every=2, reseed_until=1.0)
    keeper = CodebookKeeper(quantizer, config, STEPS, trained=True)
    quantizer.row_usage.copy_(torch.tensor([9.0, 0.0, 9.0, 9.0]))
    for step in range(3):
        keeper.observe(100 + torch.rand(1, 2, 2, 2), step)
    assert torch.equal(quantizer.codebook[[0, 2, 3]], before[[0, 2, 3]])
    assert (quantizer.codebook[1] >= 100).all()


@pytest.mark.parametrize("start", [0, 1, 300])
def test_stage3_keeps_the_hyper_codebook(write_config, tmp_path, start):
    """Rows that no vector selected stay bit for bit; the others follow their moving average."""
    run("stage1", write_config(tmp_path, "stage1", steps=3), [], False)
    first = tmp_path / "stage1" / "checkpoint.pt"
    run("stage2", write_config(tmp_path, "stage2", steps=3, init=first), [], False)
    second = tmp_path / "stage2" / "checkpoint.pt"
    codebook = f"{{start: {start}, reseed_until: 0.0}}"
    third = write_config(tmp_path, "stage3", steps=3, init=second, codebook=codebook)
    run("stage3", third, [], False)
    before = read_checkpoint(second)["average"]["hyper_vq.codebook"]
    state = read_checkpoint(tmp_path / "stage3" / "checkpoint.pt")
    after = state["model"]["hyper_vq.codebook"]
    selected = state["extras"]["keeper"]["usage"]["row_usage"] > 0
    assert selected.any()
    assert not selected.all()
    assert torch.equal(after[~selected], before[~selected])
    assert not torch.equal(after[selected], before[selected])
    # one step moves a row by at most 1 - decay of its distance, drawing it anew by all of it
    moved = (after - before).norm(dim=1)[selected]
    assert (moved < 0.5 * before[selected].norm(dim=1).mean()).all()
