# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from torch._subclasses import FakeTensorMode

from glc.errors import InvalidArgumentError
from glc.ops import VectorQuantizer


def test_losses_are_the_authors():
    torch.manual_seed(0)
    quantizer = VectorQuantizer(32, 4, beta=0.25)
    z = torch.randn(2, 4, 3, 5, requires_grad=True)
    out = quantizer(z)
    rows = quantizer.codebook[out.index].permute(0, 3, 1, 2)
    error = (rows - z).square().mean()
    torch.testing.assert_close(out.codebook_loss, error)
    torch.testing.assert_close(out.commitment_loss, error)
    torch.testing.assert_close(out.loss, 1.25 * error)
    assert torch.equal(out.z_hat, rows)
    assert out.usage.sum() == 2 * 3 * 5
    assert torch.equal(out.usage, torch.bincount(out.index.flatten(), minlength=32))


def test_beta_may_weigh_the_commitment():
    quantizer = VectorQuantizer(32, 4, beta=0.25, beta_weighs="commitment")
    z = torch.randn(2, 4, 3, 5, requires_grad=True)
    out = quantizer(z)
    by_z, by_rows = torch.autograd.grad(out.loss, (z, quantizer.codebook))
    whole_z = torch.autograd.grad(quantizer(z).commitment_loss, z)[0]
    whole_rows = torch.autograd.grad(quantizer(z).codebook_loss, quantizer.codebook)[0]
    torch.testing.assert_close(by_z, 0.25 * whole_z)
    torch.testing.assert_close(by_rows, whole_rows)


def test_each_loss_moves_its_own_side():
    quantizer = VectorQuantizer(16, 4)
    z = torch.randn(1, 4, 4, 4, requires_grad=True)
    out = quantizer(z)
    by_z, by_rows = torch.autograd.grad(
        out.commitment_loss, (z, quantizer.codebook), allow_unused=True
    )
    assert by_z.abs().sum() > 0
    assert by_rows is None
    out = quantizer(z)
    by_z, by_rows = torch.autograd.grad(
        out.codebook_loss, (z, quantizer.codebook), allow_unused=True
    )
    assert by_z is None
    assert by_rows.abs().sum() > 0


def test_gradient_passes_straight_through():
    quantizer = VectorQuantizer(16, 4)
    z = torch.randn(1, 4, 2, 2, requires_grad=True)
    weight = torch.randn(1, 4, 2, 2)
    (quantizer(z).z_hat * weight).sum().backward()
    assert torch.equal(z.grad, weight)
    assert quantizer.codebook.grad is None or (quantizer.codebook.grad == 0).all()


def test_lookup_inverts_nearest():
    quantizer = VectorQuantizer(64, 8)
    index = torch.randint(64, (2, 3, 4))
    z = quantizer.lookup(index)
    assert z.is_contiguous()
    assert torch.equal(quantizer.nearest(z), index)


def test_ema_is_the_decayed_mean():
    torch.manual_seed(0)
    decay = 0.9
    quantizer = VectorQuantizer(4, 2, ema_decay=decay)
    weight, sums = torch.ones(4), quantizer.codebook.clone()
    for _ in range(5):
        z = torch.randn(3, 2, 4, 4)
        index = quantizer.nearest(z)
        vectors = z.permute(0, 2, 3, 1).reshape(-1, 2)
        for row in range(4):
            chosen = vectors[index.flatten() == row]
            weight[row] = decay * weight[row] + (1 - decay) * len(chosen)
            sums[row] = decay * sums[row] + (1 - decay) * chosen.sum(0)
        out = quantizer(z)
        assert out.codebook_loss == 0
        torch.testing.assert_close(quantizer.codebook, sums / weight[:, None])
    frozen = quantizer.eval().codebook.clone()
    quantizer(torch.randn(3, 2, 4, 4))
    assert torch.equal(quantizer.codebook, frozen)


def test_gradient_training_fits_clusters():
    torch.manual_seed(0)
    centres = 3 * torch.randn(4, 2)
    quantizer = VectorQuantizer(4, 2)
    with torch.no_grad():
        quantizer.codebook.copy_(centres + 0.5 * torch.randn(4, 2))
    optimiser = torch.optim.SGD(quantizer.parameters(), lr=2.0)
    for _ in range(100):
        z = centres[torch.randint(4, (64,))].t().reshape(1, 2, 8, 8)
        optimiser.zero_grad()
        quantizer(z).codebook_loss.backward()
        optimiser.step()
    assert torch.cdist(centres, quantizer.codebook.detach()).min(1).values.max() < 0.05


def test_reseed_moves_dead_rows_only():
    quantizer = VectorQuantizer(8, 2, ema_decay=0.99)
    with torch.no_grad():
        quantizer.codebook.copy_(torch.arange(16.0).view(8, 2) * 100)
    z = quantizer.codebook[:3].t().reshape(1, 2, 1, 3)
    quantizer(z)
    before = quantizer.codebook.clone()
    reservoir = torch.randn(20, 2)
    generator = torch.Generator().manual_seed(0)
    assert quantizer.reseed(0.05, reservoir, generator=generator) == 5
    assert torch.equal(quantizer.codebook[:3], before[:3])
    moved = quantizer.codebook[3:]
    assert all((reservoir == row).all(1).any() for row in moved)
    assert len(moved.unique(dim=0)) == 5
    assert quantizer.row_usage.sum() == 0


def test_reseed_with_a_small_reservoir():
    quantizer = VectorQuantizer(8, 2)
    quantizer(torch.zeros(1, 2, 1, 1))
    assert quantizer.reseed(0.5, torch.ones(1, 2)) == 7
    with pytest.raises(InvalidArgumentError, match="reservoir"):
        quantizer.reseed(0.5, torch.ones(0, 2))


def test_state_dict_is_the_codebook_and_training_state_resumes():
    def train(quantizer, steps):
        for _ in range(steps):
            quantizer(torch.randn(2, 2, 4, 4))

    quantizer = VectorQuantizer(8, 2, ema_decay=0.9)
    assert list(quantizer.state_dict()) == ["codebook"]
    train(quantizer, 3)
    twin = VectorQuantizer(8, 2, ema_decay=0.9)
    twin.load_state_dict(quantizer.state_dict())
    twin.load_training_state(quantizer.training_state())
    torch.manual_seed(1)
    train(quantizer, 3)
    torch.manual_seed(1)
    train(twin, 3)
    assert torch.equal(twin.codebook, quantizer.codebook)
    assert torch.equal(twin.row_usage, quantizer.row_usage)


def test_autocast_keeps_the_search_in_float32():
    quantizer = VectorQuantizer(16, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = quantizer(torch.randn(1, 4, 2, 2).bfloat16())
    assert out.z_hat.dtype == torch.float32
    assert out.loss.dtype == torch.float32


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((0, 4), {}),
        ((4, 0), {}),
        ((4, 4), {"ema_decay": 1.0}),
        ((4, 4), {"beta_weighs": "both"}),
    ],
)
def test_bad_configurations_are_refused(args, kwargs):
    with pytest.raises(InvalidArgumentError):
        VectorQuantizer(*args, **kwargs)


def test_bad_feature_maps_are_refused():
    with pytest.raises(InvalidArgumentError, match=r"z: expected \[b, 4, h, w\]"):
        VectorQuantizer(8, 4)(torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_compiles_in_one_piece(ema_decay):
    torch.manual_seed(0)
    eager = VectorQuantizer(32, 8, ema_decay=ema_decay)
    twin = VectorQuantizer(32, 8, ema_decay=ema_decay)
    twin.load_state_dict(eager.state_dict())
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        z = torch.randn(2, 8, 4, 4)
        gradients = []
        for quantizer in (eager, compiled):
            leaf = z.clone().requires_grad_()
            out = quantizer(leaf)
            (out.loss + out.z_hat.square().sum()).backward()
            gradients.append(leaf.grad)
        torch.testing.assert_close(*gradients)
        if ema_decay is None:
            torch.testing.assert_close(eager.codebook.grad, twin.codebook.grad)
        torch.testing.assert_close(eager.codebook, twin.codebook)
        assert torch.equal(eager.row_usage, twin.row_usage)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_deferred_calls_count_as_one(ema_decay):
    torch.manual_seed(0)
    whole = VectorQuantizer(8, 2, ema_decay=ema_decay)
    parts = copy.deepcopy(whole)
    parts.deferred = True
    for z in torch.randn(3, 4, 2, 5, 3):
        selected = torch.cat([parts(part).index for part in z.chunk(2)])
        assert torch.equal(selected, whole(z).index)
        parts.settle()
        torch.testing.assert_close(parts.codebook, whole.codebook, rtol=0, atol=0)
        torch.testing.assert_close(parts.training_state(), whole.training_state(), rtol=0, atol=0)
    before = copy.deepcopy([parts.codebook.detach(), parts.training_state()])
    parts(z)
    parts.forget()
    parts.settle()
    torch.testing.assert_close([parts.codebook.detach(), parts.training_state()], before)


def _train_with_others(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    quantizer = VectorQuantizer(8, 2, ema_decay=0.9)
    z = torch.randn(2, 4, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    for step in range(4):
        quantizer(z[rank, step : step + 1])
    torch.manual_seed(rank)  # each would pick other rows
    moved = quantizer.reseed(0.9, torch.randn(30, 2))
    state = {"codebook": quantizer.codebook, "moved": moved, **quantizer.training_state()}
    torch.save(state, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize(("ema_decay", "deferred"), [(None, False), (None, True), (0.9, True)])
def test_checkpointing_counts_once(ema_decay, deferred, reentrant):
    torch.manual_seed(0)
    plain = VectorQuantizer(16, 4, ema_decay=ema_decay)
    plain.deferred = deferred
    again = copy.deepcopy(plain)
    z = torch.randn(2, 4, 5, 3, requires_grad=True)

    def loss(z: torch.Tensor, quantizer: VectorQuantizer) -> torch.Tensor:
        out = quantizer(z)
        return out.z_hat.square().sum() + out.loss  # whose backward pass needs z_hat

    (expected,) = torch.autograd.grad(loss(z, plain), z)
    torch.utils.checkpoint.checkpoint(loss, z, again, use_reentrant=reentrant).backward()
    torch.testing.assert_close(z.grad, expected, rtol=0, atol=0)
    for quantizer in (plain, again):
        quantizer.settle()
    assert torch.equal(again.row_usage, plain.row_usage)
    assert torch.equal(again.codebook, plain.codebook)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_refuses_rows_that_have_moved(reentrant):
    quantizer = VectorQuantizer(16, 4, ema_decay=0.9)
    z = torch.randn(2, 4, 5, 3, requires_grad=True)
    out = torch.utils.checkpoint.checkpoint(
        lambda z: quantizer(z).z_hat, z, use_reentrant=reentrant
    )
    with pytest.raises(InvalidArgumentError, match="deferred"):
        out.sum().backward()


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch without gloo")
def test_two_processes_train_as_one(tmp_path):
    torch.multiprocessing.spawn(_train_with_others, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(torch.as_tensor(first[k]), torch.as_tensor(second[k])) for k in first)

    torch.manual_seed(0)
    alone = VectorQuantizer(8, 2, ema_decay=0.9)
    z = torch.randn(2, 4, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    for step in range(4):
        alone(z[:, step])
    torch.manual_seed(0)
    assert alone.reseed(0.9, torch.randn(30, 2)) == first["moved"] > 0
    torch.testing.assert_close(alone.codebook, first["codebook"])
    torch.testing.assert_close(alone.row_weight, first["row_weight"])


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("kind", ["meta", "fake"])
def test_shapes_alone_pass_through(kind, ema_decay):
    with FakeTensorMode() if kind == "fake" else torch.device("meta"):
        vq, z = VectorQuantizer(5, 4, ema_decay=ema_decay), torch.randn(2, 4, 3, 6)
        out = vq(z)
        assert out.z_hat.shape == z.shape
        assert out.index.shape == vq.nearest(z).shape == (2, 3, 6)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("assign", [False, True])
def test_one_made_without_values_trains_as_any_other(assign, ema_decay):
    usual = VectorQuantizer(5, 4, ema_decay=ema_decay)
    with torch.device("meta"):
        late = VectorQuantizer(5, 4, ema_decay=ema_decay)
    if not assign:
        empty = torch.empty_like
        with pytest.MonkeyPatch.context() as patch:  # what happens to be there
            patch.setattr(torch, "empty_like", lambda t, **kw: empty(t, **kw).fill_(1e30))
            late.to_empty(device="cpu")
    late.load_state_dict({"codebook": usual.codebook.detach().clone()}, assign=assign)
    z = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for quantizer in (usual, late):
        quantizer(z)
    assert torch.equal(late.codebook, usual.codebook)
    for name, value in usual.training_state().items():
        assert torch.equal(late.training_state()[name], value), name


def test_the_nearest_row_is_no_gradient_and_comes_in_batches():
    vq, z = VectorQuantizer(5, 4), torch.randn(3, 4, 2, 2)
    assert torch.equal(torch.func.vmap(lambda t: vq.nearest(t[None])[0])(z), vq.nearest(z))
    slope = torch.func.grad(lambda t: t.sum() + vq.nearest(t).sum())(z)
    assert torch.equal(slope, torch.ones_like(z))
