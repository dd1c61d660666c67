# SPDX-License-Identifier: Apache-2.0
"""The quantiser module that models train: a codebook, its losses and its upkeep."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from glc.errors import InvalidArgumentError
from glc.ops._op import is_recomputed, is_traced
from glc.ops.vq import vq_nearest
from glc.ops.vq_quantize import all_reduced, ema_update, many_processes, vq_quantize

__all__ = ["Quantized", "VectorQuantizer"]


@dataclass(frozen=True)
class Quantized:
    """What `VectorQuantizer` returns.

    Attributes:
        z_hat: [b, d, h, w] float32, the selected rows; the gradient passes straight through to z.
        index: [b, h, w] int64, the selected row numbers.
        codebook_loss: scalar, mean((z_hat - sg(z))^2): moves the codebook; 0 under EMA updates.
        commitment_loss: scalar, mean((sg(z_hat) - z)^2): moves the encoder.
        loss: scalar, commitment_loss + beta * codebook_loss, or the other way round.
        usage: [k] int64, how often each row was selected in this call.
    """

    z_hat: Tensor
    index: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor
    loss: Tensor
    usage: Tensor


def _without_autocast(device_type: str) -> AbstractContextManager[object]:
    if device_type == "meta":  # which has none; older compilers cannot ask torch
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


class VectorQuantizer(nn.Module):
    """Replace each vector of a feature map by its nearest codebook row.

    beta weighs the *codebook* term and the commitment weight is 1, as the authors of GLC do; most
    papers put it the other way round: `beta_weighs="commitment"`.     (van den Oord et al. 2017;
    Jia et al. 2024)

    Where several processes train together (torch.distributed), selection counts and moving averages
    are those of all of them, and reseeding gives all of them the same rows.

    Selections are counted, and the moving average followed, in the forward pass. With `deferred`
    set they wait for `settle`, so that a batch computed in several calls counts as one, and one
    that turns out to be useless can be left out (`forget`). What gradient checkpointing computes
    again is not counted again. It needs `deferred` where rows follow a moving average, which would
    have moved since the forward pass. A quantiser compiled within a checkpoint cannot tell; a
    checkpoint that is compiled itself can.

    The state dict holds `codebook` only. What training adds (selection statistics) is kept in
    buffers outside it and travels through `training_state` / `load_training_state`.

    Args:
        codebook_size: k, number of rows.
        dim: d, length of a row.
        beta: weight in `loss` of the term that `beta_weighs` names; the other's is 1.
        beta_weighs: "codebook" or "commitment".
        ema_decay: None trains the codebook by gradient; a value in (0, 1) makes it a buffer that
            follows the moving average of the vectors assigned to each row (in train mode only).
    """

    codebook: Tensor
    row_weight: Tensor
    row_usage: Tensor
    deferred: bool = False

    def __init__(
        self,
        codebook_size: int,
        dim: int,
        *,
        beta: float = 0.25,
        beta_weighs: Literal["codebook", "commitment"] = "codebook",
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
        if beta_weighs not in ("codebook", "commitment"):
            raise InvalidArgumentError(
                "VectorQuantizer: beta_weighs: expected 'codebook' or 'commitment', "
                f"got {beta_weighs!r}"
            )
        self.beta = beta
        self.beta_weighs = beta_weighs
        self.ema_decay = ema_decay
        rows = torch.empty(codebook_size, dim)
        if ema_decay is None:
            self.codebook = nn.Parameter(rows)
        else:
            self.register_buffer("codebook", rows)
        nn.init.uniform_(self.codebook, -1.0 / codebook_size, 1.0 / codebook_size)
        self.register_buffer("row_weight", None, persistent=False)
        self.register_buffer("row_usage", None, persistent=False)
        self._begin_statistics()
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []  # latents, index, usage of a call

    def _begin_statistics(self) -> None:
        k = len(self.codebook)
        self.row_weight = self.codebook.new_ones(k)
        self.row_usage = self.codebook.new_zeros(k)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> VectorQuantizer:
        """Give the statistics their first values where `to_empty` leaves the meta device."""
        was_meta = self.row_weight.is_meta
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if was_meta and not self.row_weight.is_meta:
            self._begin_statistics()
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Give the statistics their first values where `assign` has left the meta device."""
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if self.row_weight.is_meta and not self.codebook.is_meta:
            self._begin_statistics()

    def extra_repr(self) -> str:
        """Describe the sizes and the way the codebook is trained."""
        k, d = self.codebook.shape
        return (
            f"codebook_size={k}, dim={d}, beta={self.beta} on {self.beta_weighs}, "
            f"ema_decay={self.ema_decay}"
        )

    def _vectors(self, z: Tensor) -> Tensor:
        if z.dim() != 4 or z.shape[1] != self.codebook.shape[1]:
            raise InvalidArgumentError(
                f"VectorQuantizer: z: expected [b, {self.codebook.shape[1]}, h, w], "
                f"got {tuple(z.shape)}"
            )
        return z.float().permute(0, 2, 3, 1).reshape(-1, z.shape[1])

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """Select the row of each vector.

        Args:
            z: [b, d, h, w] floating point, searched in float32.

        Returns:
            [b, h, w] int64.

        Raises:
            InvalidArgumentError: another shape.
        """
        latents = self._vectors(z.detach())
        # There is no gradient to register for, and a first call through torch.library imports the
        # whole of torch's compiler: two seconds that a command-line encoder would wait.
        search = vq_nearest if is_traced(latents, self.codebook) else vq_nearest.plain
        return search(latents, self.codebook).long().view(z.shape[0], *z.shape[2:])

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

        Raises:
            InvalidArgumentError: another shape; gradient checkpointing of rows that have moved.
        """
        recomputed = is_recomputed()
        if recomputed and self.training and self.ema_decay is not None and not self.deferred:
            raise InvalidArgumentError(
                "VectorQuantizer: forward: expected deferred to be set under gradient "
                "checkpointing, got rows that have moved since the forward pass; set it, and call "
                "settle() after the backward pass"
            )
        with _without_autocast(z.device.type):
            latents = self._vectors(z)
            b, d, h, w = z.shape
            rows = vq_quantize(latents, self.codebook)
            codebook_loss = rows.codebook_loss
            if self.ema_decay is not None:
                codebook_loss = torch.zeros_like(codebook_loss)
            if self.training and not recomputed:
                selected = latents.detach(), rows.index, rows.usage
                if self.deferred:
                    self._waiting.append(selected)
                else:
                    self._observe(*selected)
            losses = (codebook_loss, rows.commitment_loss)
            weighed, whole = losses if self.beta_weighs == "codebook" else losses[::-1]
            return Quantized(
                z_hat=rows.z_hat.view(b, h, w, d).permute(0, 3, 1, 2).contiguous(),
                index=rows.index.long().view(b, h, w),
                codebook_loss=codebook_loss,
                commitment_loss=rows.commitment_loss,
                loss=whole + self.beta * weighed,
                usage=rows.usage,
            )

    def settle(self) -> None:
        """Count what the calls that wait have selected, and follow the moving average, as one."""
        if self._waiting:
            latents, index, usage = zip(*self._waiting, strict=True)
            self._observe(torch.cat(latents), torch.cat(index), torch.stack(usage).sum(0))
        self.forget()

    def forget(self) -> None:
        """Leave out what the calls that wait have selected."""
        self._waiting.clear()

    @torch.no_grad()
    def _observe(self, latents: Tensor, index: Tensor, usage: Tensor) -> None:
        all_usage = all_reduced(usage)
        self.row_usage += all_usage
        if self.ema_decay is not None:
            ema_update(
                self.codebook, self.row_weight, latents, index, usage, all_usage, self.ema_decay
            )

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
        device = "cpu" if generator is None else generator.device  # not torch's default one
        order = torch.randperm(m, generator=generator, device=device)
        if n > m:
            more = torch.randint(m, (n - m,), generator=generator, device=device)
            order = torch.cat([order, more])
        chosen = reservoir[order[:n].to(reservoir.device)].to(self.codebook)
        if many_processes():
            dist.broadcast(chosen, 0)  # usage is of all processes, so all have the same dead rows
        self.codebook[dead] = chosen
        self.row_weight[dead] = 1.0
        return n

    def training_state(self) -> dict[str, Tensor]:
        """Return copies of the statistics that resuming training needs, [k] float32 each."""
        return {"row_weight": self.row_weight.clone(), "row_usage": self.row_usage.clone()}

    def load_training_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `training_state` returned."""
        self.row_weight.copy_(state["row_weight"])
        self.row_usage.copy_(state["row_usage"])
