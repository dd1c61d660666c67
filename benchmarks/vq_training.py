# SPDX-License-Identifier: Apache-2.0
"""One training step of a quantiser, forward and backward: ours and vector-quantize-pytorch's.

`python -m benchmarks.vq_training NAME` prints the peak memory of one step in bytes, beyond the
gradients and, on our side, what is prepared from the codebook.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.harness import FAST
from benchmarks.memory import measure
from benchmarks.vq_peers import make

N, K, D = (256, 1024, 32) if FAST else (2048, 16384, 256)

Rows = tuple[Tensor, Tensor | None]  # of the codebook; the gradient of the latents
Step = Callable[[], Rows]


def ours(n: int = N, k: int = K, d: int = D) -> Step:
    """Search, lookup, both losses, straight-through and codebook gradient."""
    from glc.ops import vq_quantize

    latents, codebook = (x.requires_grad_() for x in make("isotropic", n, k, d))

    def step() -> Rows:
        latents.grad = codebook.grad = None
        with torch.no_grad():
            codebook.mul_(1.0)  # as an optimiser would: what was prepared is void
        out = vq_quantize(latents, codebook)
        (out.z_hat.sum() + out.commitment_loss + out.codebook_loss).backward()
        return out.index, latents.grad

    return step


def peer(n: int = N, k: int = K, d: int = D) -> Step:
    """The same by vector-quantize-pytorch, its codebook trained by gradient as ours is."""
    from vector_quantize_pytorch import VectorQuantize

    latents, codebook = make("isotropic", n, k, d)
    latents.requires_grad_()
    module = VectorQuantize(
        dim=d,
        codebook_size=k,
        learnable_codebook=True,
        ema_update=False,
        rotation_trick=False,
    )
    module._codebook.embed.data.copy_(codebook[None])
    module.train()

    def step() -> Rows:
        latents.grad = module._codebook.embed.grad = None
        z_hat, index, loss = module(latents[None])
        (z_hat.sum() + loss.sum()).backward()
        return index[0], latents.grad

    return step


def one_hot_formula(n: int = N, k: int = K, d: int = D) -> Step:
    """The same by the authors' formula: distances, and a one-hot matrix for the lookup."""
    latents, codebook = (x.requires_grad_() for x in make("isotropic", n, k, d))

    def step() -> Rows:
        latents.grad = codebook.grad = None
        distance = (
            latents.square().sum(1, keepdim=True)
            + codebook.square().sum(1)
            - 2 * latents @ codebook.t()
        )
        index = distance.argmin(1)
        one_hot = torch.zeros_like(distance).scatter_(1, index[:, None], 1)
        rows = one_hot @ codebook
        loss = (rows.detach() - latents).square().mean() + (rows - latents.detach()).square().mean()
        z_hat = latents + (rows - latents).detach()
        (z_hat.sum() + loss).backward()
        return index, latents.grad

    return step


SIDES = {"ours": ours, "vector-quantize-pytorch": peer, "one-hot formula": one_hot_formula}


def peak_bytes(side: str) -> int:
    """Peak of one step in this process, beyond what is named above."""
    SIDES[side](64, 300, D)()  # imports, thread pools
    step = SIDES[side]()
    peak = measure(step) - 4 * D * (N + K)
    if side == "ours":
        from glc.ops.vq import _prepared

        peak -= max(entry.native.nbytes for entry in _prepared._entries.values())
    return peak


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(peak_bytes(sys.argv[1]))
