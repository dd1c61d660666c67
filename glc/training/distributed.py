# SPDX-License-Identifier: Apache-2.0
"""One process or many: accelerate over torchrun, behind the few words that a stage needs.

A stage calls parts of the model in its own order, not one `forward`, so the model is not wrapped.
Every process draws the random numbers of the whole batch and keeps its share (`portion`), gradients
are averaged in one flat all-reduce, and what follows batches (codebooks, rates) sees all of them:
processes and one big process walk the same path but for the order of sums, and for what
docs/training.md names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from glc.errors import InvalidArgumentError
from glc.training.config import StageConfig

_Item = TypeVar("_Item")


def prepare(config: StageConfig) -> None:
    """Seed torch and set its threads; denormals are flushed, they only cost time here.

    On a GPU cuDNN tries its algorithms, crops being all of one size, and torch's own products are
    rounded to TF32 as the convolutions are by default; ours (`vq_nearest`) stay exact.
    """
    torch.manual_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)
    if config.device != "cpu" and torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")


class Processes:
    """This process among those of the run.

    Args:
        config: `device`, `batch` and `accumulate` are read.

    Raises:
        InvalidArgumentError: accelerate is not installed, or the batch does not divide.
    """

    def __init__(self, config: StageConfig) -> None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise InvalidArgumentError(
                "train: accelerate: expected it and what it needs to be installed, got: "
                f"{error}; pip install --upgrade '.[train]'"
            ) from error
        any_kind = getattr(torch, "accelerator", torch.cuda)  # torch 2.5 has only the latter
        # on a CPU accelerate sees the other processes only if told that the CPU is meant
        on_cpu = config.device == "cpu" or not any_kind.is_available()
        self._accelerator = Accelerator(cpu=on_cpu)
        self.device: torch.device = self._accelerator.device
        self.rank: int = self._accelerator.process_index
        self.world: int = self._accelerator.num_processes
        self.first: bool = self._accelerator.is_main_process
        if config.batch % (self.world * config.accumulate):
            raise InvalidArgumentError(
                f"config: batch: expected a multiple of processes x accumulate = "
                f"{self.world} x {config.accumulate}, got {config.batch}"
            )

    def gather(self, part: Tensor) -> Tensor:
        """Concatenate a tensor's parts of all processes along the first dimension."""
        if self.world == 1:
            return part
        gathered: Tensor = self._accelerator.gather(part.contiguous())
        return gathered

    def means(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Means over the processes of scalars that all of them name in the same order."""
        own = torch.stack([v.detach().to(self.device, torch.float32) for v in values.values()])
        return dict(zip(values, self.gather(own[None]).mean(0).tolist(), strict=True))

    def gather_items(self, item: _Item) -> list[_Item]:
        """One picklable item of every process, in the order of ranks."""
        if self.world == 1:
            return [item]
        from accelerate.utils import gather_object

        items: list[_Item] = gather_object([item])
        return items

    @torch.no_grad()
    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace every gradient by its mean over the processes, in one all-reduce.

        Where no process has one there is none afterwards: zeros would let the optimiser count a
        step, and decay a parameter, that one process on its own passes over.
        """
        if self.world == 1 or not parameters:
            return
        given = torch.tensor([float(p.grad is not None) for p in parameters])
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        given = given.to(self.device, non_blocking=True)
        flat = torch.cat([given, *(grad.flatten() for grad in grads)])
        flat = self._accelerator.reduce(flat, "mean")
        given, *means = flat.split([len(parameters), *(g.numel() for g in grads)])
        lacking = any(p.grad is None for p in parameters)  # asking the device would wait for it
        somewhere = given.tolist() if lacking else [1.0] * len(parameters)
        for p, grad, mean, share in zip(parameters, grads, means, somewhere, strict=True):
            if share:
                p.grad = grad.copy_(mean.view_as(grad))

    def wait(self) -> None:
        """Let all processes arrive here."""
        self._accelerator.wait_for_everyone()

    def random_state(self) -> dict[str, Tensor]:
        """State of torch's generators; the same in every process."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["device"] = torch.cuda.get_rng_state(self.device)
        return state

    def set_random_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `random_state` gave; a state of another kind of device is left out."""
        torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda" and "device" in state:
            torch.cuda.set_rng_state(state["device"], self.device)


def snapshot(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Copies of tensors that a step may move before its gradients are known."""
    return [tensor.detach().clone() for tensor in tensors]
