# SPDX-License-Identifier: Apache-2.0
"""What all stages share: one step, averaging, checkpoints, validation, going on.

A step either happens whole or not at all. What follows the batch (codebooks, rate controller)
waits until the gradients are known to be finite, and then sees all parts and processes at once.
When they are not, statistics of layers are put back, and the step is made once more to find the
term that spoilt it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glc.errors import InvalidArgumentError, TrainingError
from glc.files import write_file
from glc.models.glc import GLC
from glc.training.checkpoint import Stateful, as_written, load_module, only_run, write_checkpoint
from glc.training.config import StageConfig
from glc.training.config_file import dump_config
from glc.training.config_rules import warn_of_unread
from glc.training.data import Photos
from glc.training.distributed import Processes, snapshot
from glc.training.monitor import SHOWN_IMAGES, Monitor
from glc.training.optimizer import Average, adamw, learning_rate, restore
from glc.training.portion import Portion
from glc.training.stop import HeldSignals

LOG_EVERY = 50

Metrics = Mapping[str, Tensor]
Update = Callable[[int, Tensor], Metrics]
Observe = Callable[[int, Mapping[str, Tensor]], Metrics]
Validate = Callable[[GLC, Tensor], tuple[dict[str, float], Tensor]]


class Run:
    """One run of one stage.

    Args:
        stage: its name on the command line.
        config: the resolved configuration.
        model: the model; its averaged weights are validated and exported.
        trained: parts of the model that this run trains; the rest is frozen.
        helpers: further modules by name (predictors, discriminator, teacher).
        extras: other state by name (controller, codebook keeper).

    Raises:
        InvalidArgumentError: see `Processes`.
    """

    def __init__(
        self,
        stage: str,
        config: StageConfig,
        model: GLC,
        trained: Sequence[nn.Module],
        helpers: dict[str, nn.Module],
        extras: dict[str, Stateful],
    ) -> None:
        self.processes = Processes(config)
        self.device = self.processes.device
        if self.processes.first:
            warn_of_unread(stage, config, model.config)
        self.stage, self.config, self.out = stage, config, Path(config.out)
        self.model = model.to(self.device)
        self.helpers = {name: module.to(self.device) for name, module in helpers.items()}
        self.extras = extras
        self.portion = Portion(self.processes, config.accumulate, config.batch)
        self.step = 0
        self.skipped = 0
        self.skipped_in_a_row = 0
        self.norm = 0.0  # gradient norm of the latest step, before clipping
        self.finite = True  # whether its losses and gradients were, in all processes
        self.offender = ""  # what was not, in the latest step that was put back
        self.stopping = 0  # number of a signal that any process had got by the latest step
        self._held = HeldSignals()
        self._loss = self.zero()  # of the latest step, in this process
        self._watched: dict[str, list[Tensor]] = {}  # its parts' tensors by name
        self._probe: list[str] | None = None  # what a diagnosing pass has found
        model.requires_grad_(False)
        for module in trained:
            module.requires_grad_(True)
        self.parameters = [p for m in trained for p in m.parameters()]
        self.optimizer = adamw(
            self.parameters,
            learning_rate=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self.discriminator_optimizer: torch.optim.Optimizer | None = None
        self.discriminator_parameters: list[nn.Parameter] = []
        if "discriminator" in helpers:
            self.discriminator_parameters = list(helpers["discriminator"].parameters())
            self.discriminator_optimizer = adamw(
                self.discriminator_parameters,
                learning_rate=config.adversarial.learning_rate,
                betas=(0.5, 0.9),
            )
        for network in (model.latent_encoder, model.latent_decoder):
            if config.channels_last:
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if config.compile:
                network.compile()
        self.average = Average(model)
        self._codebooks = (model.image_vq, model.hyper_vq)
        for codebook in self._codebooks:
            codebook.deferred = True
        # what computing a step moves: statistics of the discriminator's layers
        self._moved = [b for m in self.helpers.values() for b in m.buffers()]

    # ------------------------------------------------------------ what an update asks for

    def progress(self, step: int) -> float:
        """Share of the run done at a step."""
        return step / self.config.steps

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Reduced precision for the image networks, when the configuration asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16)

    def zero(self) -> Tensor:
        """A scalar zero, for a term that is not in force."""
        return torch.zeros((), device=self.device)

    def watch(self, **samples: Tensor) -> None:
        """Keep tensors [n, ...] of this part's samples for the stage's `observe`."""
        for name, values in samples.items():
            self._watched.setdefault(name, []).append(values.detach())

    def backward(self, **terms: Tensor) -> None:
        """Backpropagate the sum of named scalar terms into the trained parts."""
        self._backward(terms, self.parameters)

    def backward_discriminator(self, loss: Tensor) -> None:
        """Backpropagate the discriminator's own loss."""
        self._backward({"discriminator": loss}, self.discriminator_parameters)

    def _backward(self, terms: Mapping[str, Tensor], parameters: Sequence[Tensor]) -> None:
        if self._probe is None:
            loss = torch.stack(list(terms.values())).sum() / self.config.accumulate
            self._loss += loss.detach()
            loss.backward()
            return
        for name, term in terms.items():
            if not bool(torch.isfinite(term)):
                self._probe.append(f"{name} is {term.item()}")
            elif term.requires_grad:
                grads = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
                if any(g is not None and not bool(torch.isfinite(g).all()) for g in grads):
                    self._probe.append(f"the gradient of {name} is not finite")

    # ------------------------------------------------------------ one step

    def take_step(self, update: Update, x: Tensor, observe: Observe) -> Metrics:
        """Make one step on this process's crops, or put everything back.

        A gradient can be finite where its loss is not, so both are looked at.

        Args:
            update: computes the losses of a part of the crops and calls `backward`.
            x: [n, 3 or 6, h, w] float32 in [-1, 1], on the device; see `Photos`.
            observe: follows the step; it gets what `update` gave to `watch`, of all parts and
                processes together, by name.

        Returns:
            What `update` and `observe` returned, for the log.

        Raises:
            TrainingError: `nonfinite_limit` steps in a row had a gradient that is not finite.
        """
        before = snapshot(self._moved)
        random = self.processes.random_state()
        metrics = self._gradients(update, x)
        if self.finite:
            metrics = {**metrics, **self._follow(observe)}
            self._apply()
            self.skipped_in_a_row = 0
            return metrics

        @torch.no_grad()
        def put_back() -> None:
            for tensor, value in zip(self._moved, before, strict=True):
                tensor.copy_(value)
            self._watched.clear()
            for codebook in self._codebooks:
                codebook.forget()

        put_back()
        after = self.processes.random_state()
        self.processes.set_random_state(random)
        offender = self._offender(update, x)
        self.processes.set_random_state(after)
        put_back()
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= self.config.nonfinite_limit:
            raise TrainingError(
                f"{self.stage}: step {self.step}: expected finite gradients, but {offender}; "
                f"{self.skipped_in_a_row} in a row. Weights are as they were before; resume from "
                f"the last checkpoint in {self.out}, with a lower learning_rate or another seed"
            )
        self.offender = offender
        return {"nonfinite": torch.ones(())}

    def _parts(self, x: Tensor) -> Iterator[Tensor]:
        """The crops in parts, which draw the same random numbers as the processes do."""
        random = self.processes.random_state()
        for number, part in enumerate(x.chunk(self.config.accumulate)):
            if number:
                self.processes.set_random_state(random)
            self.portion.part = number
            yield part

    def _gradients(self, update: Update, x: Tensor) -> Metrics:
        self.optimizer.zero_grad(set_to_none=True)
        if self.discriminator_optimizer is not None:
            self.discriminator_optimizer.zero_grad(set_to_none=True)
        metrics: dict[str, Tensor] = {}
        self._loss = self.zero()
        for part in self._parts(x):
            for name, value in update(self.step, part).items():
                share = value.detach() / self.config.accumulate
                metrics[name] = metrics[name] + share if name in metrics else share
        asked = torch.full_like(self._loss, self._held.number)  # all are to stop at one step
        told = self.processes.gather(torch.stack((self._loss, asked))[None])
        watched = [told[:, 1].max(), told[:, 0].sum()]
        for parameters in (self.parameters, self.discriminator_parameters):
            self.processes.average_gradients(parameters)
            norm = nn.utils.clip_grad_norm_(parameters, self.config.clip)
            watched.append(norm.to(self.device, non_blocking=True))
        # the only time a step waits for the device
        stopping, *values = torch.stack(watched).tolist()
        self.stopping = int(stopping)
        self.norm = values[1]
        self.finite = math.isfinite(sum(values))
        return {"norm": torch.tensor(self.norm), **metrics}

    def _follow(self, observe: Observe) -> Metrics:
        """Let codebooks and the stage follow the step, as all processes see it."""
        for codebook in self._codebooks:
            codebook.settle()
        gather, whole = self.processes.gather, self.portion.whole
        seen = {name: whole(gather(torch.cat(parts))) for name, parts in self._watched.items()}
        self._watched.clear()
        return observe(self.step, seen)

    def _apply(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        self.optimizer.step()
        if self.discriminator_optimizer is not None:
            self.discriminator_optimizer.step()
        self.average.update(min(self.config.ema_decay, (1 + self.step) / (10 + self.step)))

    def _offender(self, update: Update, x: Tensor) -> str:
        """Make the step again, one gradient per term, and name what is not finite."""
        self._probe = []
        try:
            for part in self._parts(x):
                update(self.step, part)
            found = self.processes.gather_items(self._probe)
        finally:
            self._probe = None
        named = [name for names in found for name in names]
        return named[0] if named else "their sum is not"

    # ------------------------------------------------------------ the whole run

    def loop(self, photos: Photos, update: Update, observe: Observe, validate: Validate) -> None:
        """Run to the last step, with checkpoints, validations, a log and a progress bar.

        A signal that would end the process does so when the step has been made and saved.

        Raises:
            InvalidArgumentError: no usable photo is held out, what is written at the start cannot
                be, or another run writes there; see `Monitor` too.
            TrainingError: see `take_step` and `write_checkpoint`.
        """
        held_out = photos.validation_batch()  # or a refusal, before anything is written
        if not self.processes.first:
            self._loop(photos, held_out, update, observe, validate)
            return
        self.out.mkdir(parents=True, exist_ok=True)
        with only_run(self.out):
            text = dump_config(self.config)
            write_file(self.out / "config.yaml", text.encode(), overwrite=True)
            self._loop(photos, held_out, update, observe, validate)

    def _loop(
        self, photos: Photos, held_out: Tensor, update: Update, observe: Observe, validate: Validate
    ) -> None:
        config, processes = self.config, self.processes
        processes.wait()
        batches = photos.batches(
            self.step,
            config.batch,
            rank=processes.rank,
            world=processes.world,
            on_gpu=self.device.type == "cuda",
        )
        monitor = Monitor(
            self.stage,
            self.out,
            config.steps,
            start=self.step,
            tensorboard=config.tensorboard,
            first=processes.first,
        )
        with self._held, monitor, contextlib.closing(batches):
            monitor.advance(self.step)
            if self.step and self._validation_is_due() and not monitor.validated:
                self._validate(validate, held_out, monitor)  # killed before it was done
            processes.wait()
            while self.step < config.steps:
                crops = next(batches).to(self.device, non_blocking=True)
                metrics = self.take_step(update, crops, observe)
                self.step += 1
                last = self.step == config.steps
                monitor.advance(self.step)
                if self.step % LOG_EVERY == 0 or self.step == 1 or last or "nonfinite" in metrics:
                    for other in processes.gather_items(photos.rejected):
                        photos.rejected.add(other)
                    counts = {"skipped": self.skipped, **photos.rejected.counts()}
                    monitor.metrics(self.step, {**counts, **processes.means(metrics)})
                if "nonfinite" in metrics:
                    monitor.say(f"step {self.step}: put back, {self.offender}")
                if self.step % config.checkpoint_every == 0 or last or self.stopping:
                    self.save()  # before the validation, which might find no room
                if self.stopping:
                    self._held.number = self.stopping
                    name = signal.Signals(self.stopping).name
                    monitor.say(f"step {self.step}: stopped by {name}; --resume goes on from here")
                    return
                if self._validation_is_due():
                    self._validate(validate, held_out, monitor)
                    processes.wait()
            if processes.first:
                self.averaged_model().cpu().save_pretrained(self.out / "model")
            monitor.say(f"done, model in {self.out / 'model'}; photos: {photos.rejected}")
        processes.wait()

    def _validation_is_due(self) -> bool:
        return self.step % self.config.validate_every == 0 or self.step == self.config.steps

    def _validate(self, validate: Validate, held_out: Tensor, monitor: Monitor) -> None:
        if self.processes.first and len(held_out):
            x = held_out.to(self.device)
            random = self.processes.random_state()
            result, x_hat = validate(self.averaged_model(), x)
            self.processes.set_random_state(random)
            given = x[:SHOWN_IMAGES].split(3, dim=1)  # of crops with a degraded copy, both
            shown = torch.cat((*given, x_hat[:SHOWN_IMAGES]), dim=-1)
            monitor.validation(self.step, result, (shown / 2 + 0.5).clamp(0, 1))

    def averaged_model(self) -> GLC:
        """A copy of the model in evaluation mode that holds the averaged weights."""
        model = type(self.model)(self.model.config)
        model.load_state_dict(self.average.state)
        return model.to(self.device).eval()

    def save(self) -> None:
        """Write the checkpoint; see `write_checkpoint`."""
        if self.processes.first:
            state = {
                "stage": self.stage,
                "step": self.step,
                "skipped": self.skipped,
                "config": dataclasses.asdict(self.config),
                "model_config": self.model.config.to_dict(),
                "model": self.model.state_dict(),
                "average": self.average.state,
                "helpers": {k: m.state_dict() for k, m in self.helpers.items()},
                "extras": {k: e.state_dict() for k, e in self.extras.items()},
                "optimizer": self.optimizer.state_dict(),
                "discriminator_optimizer": self.discriminator_optimizer.state_dict()
                if self.discriminator_optimizer
                else None,
                "random": self.processes.random_state(),
            }
            write_checkpoint(state, self.out / "checkpoint.pt")
        self.processes.wait()

    @as_written()
    def resume(self, state: dict[str, Any]) -> None:
        """Continue from this run's own checkpoint; see `checkpoint_to_resume`.

        Raises:
            InvalidArgumentError: it was written with other helpers, or by hand.
        """
        load_module(self.model, state["model"], "model")
        if state["helpers"].keys() != self.helpers.keys():
            raise InvalidArgumentError(
                f"checkpoint: helpers: expected {sorted(self.helpers)}, got "
                f"{sorted(state['helpers'])}; adversarial.weight, code_weight and "
                f"prediction_weight decide which"
            )
        for name, module in self.helpers.items():
            load_module(module, state["helpers"][name], name)
        # which fills in what a checkpoint from before lacks
        averaged = type(self.model)(self.model.config)
        load_module(averaged, state["average"], "average")
        self.average.load(averaged.state_dict())
        for name, extra_state in state["extras"].items():
            self.extras[name].load_state_dict(extra_state)
        restore(self.optimizer, state["optimizer"])
        if self.discriminator_optimizer is not None:
            restore(self.discriminator_optimizer, state["discriminator_optimizer"])
        self.processes.set_random_state(state["random"])
        self.step, self.skipped = state["step"], state["skipped"]
