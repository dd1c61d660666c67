# SPDX-License-Identifier: Apache-2.0
"""Vector quantisation: exact nearest-codebook search and the training-time quantiser."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glc import _core
from glc.errors import InvalidArgumentError
from glc.ops._op import Op, borrow

_CHUNK_SCORES = 1 << 22  # scores held at once: 16 MiB instead of a full [n, k] matrix


@torch.no_grad()
def _nearest_by_matmul(latents: Tensor, codebook: Tensor) -> Tensor:
    """Search in chunks on any device; near-ties may fall differently than natively."""
    half_norms = -0.5 * codebook.square().sum(1)
    step = max(1, _CHUNK_SCORES // codebook.shape[0])
    chunks = [
        torch.addmm(half_norms, part, codebook.t()).argmax(1) for part in torch.split(latents, step)
    ]
    return torch.cat(chunks).to(torch.int32)


def _require_matrices(latents: Tensor, codebook: Tensor) -> None:
    if latents.dim() != 2 or codebook.dim() != 2 or latents.shape[1] != codebook.shape[1]:
        raise InvalidArgumentError(
            "vq_nearest: latents and codebook: expected [n, d] and [k, d], "
            f"got {tuple(latents.shape)} and {tuple(codebook.shape)}"
        )
    if codebook.shape[0] == 0:
        raise InvalidArgumentError("vq_nearest: codebook: expected at least one row, got none")


def _vq_nearest_plain(latents: Tensor, codebook: Tensor) -> Tensor:
    _require_matrices(latents, codebook)
    if latents.device.type != "cpu":
        return _nearest_by_matmul(latents, codebook)
    index = torch.empty(latents.shape[0], dtype=torch.int32)
    _core.vq_nearest(borrow(latents), borrow(codebook), borrow(index))
    return index


@torch.library.custom_op("glc::vq_nearest", mutates_args=())
def _vq_nearest_op(latents: Tensor, codebook: Tensor) -> Tensor:
    return _vq_nearest_plain(latents, codebook)


@_vq_nearest_op.register_fake
def _(latents: Tensor, codebook: Tensor) -> Tensor:
    return latents.new_empty(latents.shape[0], dtype=torch.int32)


def _vq_nearest(latents: Tensor, codebook: Tensor) -> Tensor:
    """Find the nearest codebook row of each latent.

    index = argmax_j (l . c_j - |c_j|^2 / 2), which is argmin_j |l - c_j|^2

    On the CPU the score is one chain of fused multiply-adds per pair, dimensions ascending, so the
    index is the same on every machine; see `csrc/include/glc/vq.h`. No [n, k] matrix is kept.

    Args:
        latents: [n, d] float32.
        codebook: [k, d] float32, k >= 1, same device.

    Returns:
        [n] int32, in [0, k); the lowest row wins a tie. No gradient.

    Raises:
        InvalidArgumentError: shapes disagree, the codebook is empty, or another dtype.
    """
    index: Tensor = _vq_nearest_op(latents, codebook)
    return index


def _vq_nearest_reference(latents: Tensor, codebook: Tensor) -> Tensor:
    distance = (latents.double()[:, None, :] - codebook.double()[None, :, :]).square().sum(-1)
    smallest = distance.min(1, keepdim=True).values
    return (distance == smallest).to(torch.uint8).argmax(1).to(torch.int32)  # first of equals


vq_nearest = Op(_vq_nearest, reference=_vq_nearest_reference, plain=_vq_nearest_plain)


@dataclass(frozen=True)
class Quantized:
    """What `VectorQuantizer` returns.

    Attributes:
        z_hat: [b, d, h, w] float32, the selected rows; the gradient passes straight through to z.
        index: [b, h, w] int64, the selected row numbers.
        codebook_loss: scalar, mean((z_hat - sg(z))^2): moves the codebook; 0 under EMA updates.
        commitment_loss: scalar, mean((sg(z_hat) - z)^2): moves the encoder.
        loss: scalar, commitment_loss + beta * codebook_loss.
        usage: [k] int64, how often each row was selected in this call.
    """

    z_hat: Tensor
    index: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor
    loss: Tensor
    usage: Tensor


class VectorQuantizer(nn.Module):
    """Replace each vector of a feature map by its nearest codebook row.

    beta weighs the *codebook* term and the commitment weight is 1, as the authors of GLC do (most
    papers put it the other way round).     (van den Oord et al. 2017; Jia et al. 2024)

    The state dict holds `codebook` only. What training adds (selection statistics) is kept in
    buffers outside it and travels through `training_state` / `load_training_state`.

    Args:
        codebook_size: k, number of rows.
        dim: d, length of a row.
        beta: weight of the codebook term in `loss`.
        ema_decay: None trains the codebook by gradient; a value in (0, 1) makes it a buffer that
            follows the moving average of the vectors assigned to each row (in train mode only).
    """

    codebook: Tensor
    row_weight: Tensor
    row_usage: Tensor

    def __init__(
        self,
        codebook_size: int,
        dim: int,
        *,
        beta: float = 0.25,
        ema_decay: float | None = None,
    ) -> None:
        super().__init__()
        if codebook_size < 1 or dim < 1:
            raise InvalidArgumentError(
                "VectorQuantizer: codebook_size and dim: expected >= 1, "
                f"got {codebook_size} and {dim}"
            )
        if ema_decay is not None and not 0.0 < ema_decay < 1.0:
            raise InvalidArgumentError(
                f"VectorQuantizer: ema_decay: expected None or a value in (0, 1), got {ema_decay}"
            )
        self.beta = beta
        self.ema_decay = ema_decay
        rows = torch.empty(codebook_size, dim).uniform_(-1.0 / codebook_size, 1.0 / codebook_size)
        if ema_decay is None:
            self.codebook = nn.Parameter(rows)
        else:
            self.register_buffer("codebook", rows)
        self.register_buffer("row_weight", torch.ones(codebook_size), persistent=False)
        self.register_buffer("row_usage", torch.zeros(codebook_size), persistent=False)

    def extra_repr(self) -> str:
        """Describe the sizes and the way the codebook is trained."""
        k, d = self.codebook.shape
        return f"codebook_size={k}, dim={d}, beta={self.beta}, ema_decay={self.ema_decay}"

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """Select the row of each vector.

        Args:
            z: [b, d, h, w] float32.

        Returns:
            [b, h, w] int64.
        """
        if z.dim() != 4 or z.shape[1] != self.codebook.shape[1]:
            raise InvalidArgumentError(
                f"VectorQuantizer: z: expected [b, {self.codebook.shape[1]}, h, w], "
                f"got {tuple(z.shape)}"
            )
        b, d, h, w = z.shape
        latents = z.detach().float().permute(0, 2, 3, 1).reshape(-1, d)
        # There is no gradient to register for, and a first call through torch.library imports the
        # whole of torch's compiler: two seconds that a command-line encoder would wait.
        search = vq_nearest if torch.compiler.is_compiling() else vq_nearest.plain
        return search(latents, self.codebook).long().view(b, h, w)

    def lookup(self, index: Tensor) -> Tensor:
        """Gather the rows of an index map.

        Args:
            index: [b, h, w] int64, in [0, k).

        Returns:
            [b, d, h, w] float32, contiguous.
        """
        return nn.functional.embedding(index, self.codebook).permute(0, 3, 1, 2).contiguous()

    def forward(self, z: Tensor) -> Quantized:
        """Quantise a feature map.

        Args:
            z: [b, d, h, w] floating point; computed in float32 even under autocast.

        Returns:
            See `Quantized`.
        """
        with torch.autocast(device_type=z.device.type, enabled=False):
            z = z.float()
            index = self.nearest(z)
            rows = self.lookup(index)
            usage = torch.bincount(index.flatten(), minlength=self.codebook.shape[0])
            commitment_loss = (rows.detach() - z).square().mean()
            if self.ema_decay is None:
                codebook_loss = (rows - z.detach()).square().mean()
            else:
                codebook_loss = torch.zeros_like(commitment_loss)
            if self.training:
                self._observe(z, index, usage)
            return Quantized(
                z_hat=z + (rows - z).detach(),
                index=index,
                codebook_loss=codebook_loss,
                commitment_loss=commitment_loss,
                loss=commitment_loss + self.beta * codebook_loss,
                usage=usage,
            )

    @torch.no_grad()
    def _observe(self, z: Tensor, index: Tensor, usage: Tensor) -> None:
        counts = usage.to(self.row_usage.dtype)
        d = z.shape[1]
        sums = torch.zeros_like(self.codebook)
        sums.index_add_(0, index.flatten(), z.detach().permute(0, 2, 3, 1).reshape(-1, d))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # one codebook follows the vectors of all processes
            torch.distributed.all_reduce(counts)
            torch.distributed.all_reduce(sums)
        self.row_usage += counts
        if self.ema_decay is None:
            return
        self.row_weight.mul_(self.ema_decay).add_(counts, alpha=1.0 - self.ema_decay)
        # Same as keeping decayed sums and dividing, but a codebook assigned or loaded from
        # outside needs no second tensor brought into step with it.
        pull = (1.0 - self.ema_decay) / self.row_weight.clamp_min(1e-12)
        self.codebook += pull[:, None] * (sums - counts[:, None] * self.codebook)

    @torch.no_grad()
    def reseed(
        self,
        dead_fraction: float,
        reservoir: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> int:
        """Move rows that training hardly selects onto vectors that really occur.

        A row is dead when it was selected less than dead_fraction times the mean count since the
        last call. Counting starts afresh after the call. Beware of reading the returned count as
        health: reseeded rows look alive for a while; count distinct indices on fixed data instead.

        Args:
            dead_fraction: share of the mean usage below which a row is dead, e.g. 0.05.
            reservoir: [m, d] float32, recent inputs of the quantiser, m >= 1.
            generator: source of the random choice among the reservoir.

        Returns:
            Number of rows moved.

        Raises:
            InvalidArgumentError: the reservoir is empty or its width is not d.
        """
        d = self.codebook.shape[1]
        if reservoir.dim() != 2 or reservoir.shape[1] != d or reservoir.shape[0] == 0:
            raise InvalidArgumentError(
                f"reseed: reservoir: expected [m >= 1, {d}], got {tuple(reservoir.shape)}"
            )
        dead = (self.row_usage < dead_fraction * self.row_usage.mean()).nonzero().flatten()
        self.row_usage.zero_()
        n = int(dead.numel())
        if n == 0:
            return 0
        m = reservoir.shape[0]
        order = torch.randperm(m, generator=generator)
        if n > m:
            more = torch.randint(m, (n - m,), generator=generator)
            order = torch.cat([order, more])
        chosen = reservoir[order[:n].to(reservoir.device)]
        self.codebook[dead] = chosen.to(self.codebook)
        self.row_weight[dead] = 1.0
        return n

    def training_state(self) -> dict[str, Tensor]:
        """Return copies of the statistics that resuming training needs, [k] float32 each."""
        return {"row_weight": self.row_weight.clone(), "row_usage": self.row_usage.clone()}

    def load_training_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `training_state` returned."""
        self.row_weight.copy_(state["row_weight"])
        self.row_usage.copy_(state["row_usage"])
