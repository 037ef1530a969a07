"""Rounds of federated training: local training, updates to the server, the change of the server to all clients."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from compress.core.atomic_files import write_with
from compress.core.environment import is_main
from compress.core.errors import TrainingError
from compress.core.language import gettext
from compress.core.record import Curve
from compress.core.seed_of import seed_of
from compress.core.stage import Context
from compress.train.distributed import resolve_device
from compress.train.federated.client_moments import join_moments
from compress.train.federated.compress_update import compress_update
from compress.train.federated.flat_parameters import flatten, real_buffers, set_flat, split_flat, trained_parameters
from compress.train.federated.read_samples import divide, read_all
from compress.train.federated.server_distillation import distill_on_server, logits_of
from compress.train.federated.settings import FederatedTraining
from compress.train.optimizers import build_optimizer, lr_factor
from compress.train.seeding import preserve_rng
from compress.train.validation_scores import validation_scores

STATE = "rounds.safetensors"
FLOAT_BYTES = 4


@dataclass
class Course:
    """A training so far.

    Attributes:
        metrics: Validation metric after each round.
        losses: Mean training loss of the clients in each round.
        sent: Bytes of each round, both directions.
        dense_bytes: Bytes of a round without compression.
        best: Round with the best validation metric, counted from 1.
    """

    metrics: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    dense_bytes: int = 1
    best: int = 0

    @property
    def round_bytes(self) -> float:
        """Mean bytes of a round."""
        return sum(self.sent) / max(1, len(self.sent))

    def curves(self, metric: str) -> dict[str, Curve]:
        """Loss, validation metric and bytes by round."""
        x = tuple(float(number) for number in range(1, len(self.metrics) + 1))
        series: dict[str, list[float]] = {
            "loss": self.losses,
            f"{metric}_validation": self.metrics,
            "round_bytes": [*self.sent],
        }
        return {name: Curve(x_label="round", y_label=name, x=x, y=tuple(map(float, y))) for name, y in series.items()}


def train_rounds(module: nn.Module, stage: FederatedTraining, context: Context) -> Course:
    """Train a network in place; afterwards it has the selected weights and is in eval mode on the CPU.

    After each round its state is written to the folder of the stage, from which a second call continues bit by bit.

    Args:
        module: The network.
        stage: Settings.
        context: Data, task, seed and device.

    Raises:
        TrainingError: There are fewer than two samples for each client, samples of different shapes, or the loss is not finite.
    """
    simulation = Simulation(module, stage, context)
    with preserve_rng(torch.device(resolve_device(context.device))), context.reporter.bar("federated", stage.rounds) as bar:
        simulation.restore(context.folder / STATE)
        bar.advance(len(simulation.course.metrics))
        for number in range(len(simulation.course.metrics), stage.rounds):
            simulation.run_round(number)
            simulation.save(context.folder / STATE)
            bar.advance(note=f"{simulation.course.metrics[-1]:.4g}")
    simulation.select()
    (context.folder / STATE).unlink(missing_ok=True)
    return simulation.course


class Simulation:
    """Server and clients.

    Args:
        module: The network of the server.
        stage: Settings.
        context: Data, task, seed and device.
    """

    def __init__(self, module: nn.Module, stage: FederatedTraining, context: Context) -> None:
        self.module, self.stage, self.context = module, stage, context
        self.device = resolve_device(context.device)
        self.inputs, self.targets = read_all(context.data.train)
        self.parts, self.server_rows = divide(stage, self.targets, context.seed)
        self.trained, self.buffers = trained_parameters(module), real_buffers(module)
        self.entries = sum(parameter.numel() for parameter in self.trained)
        self.errors = torch.zeros(stage.clients + 1, self.entries)
        self.course = Course()
        self.best = _state(module)
        buffers = sum(buffer.numel() for buffer in self.buffers)
        self.buffer_bytes = FLOAT_BYTES * buffers
        self.course.dense_bytes = 2 * self.taking_part * (FLOAT_BYTES * self.entries + self.buffer_bytes)

    @property
    def taking_part(self) -> int:
        """Number of clients in a round."""
        return max(1, round(self.stage.participation * self.stage.clients))

    def run_round(self, number: int) -> None:
        """Train the clients of a round, and update the server."""
        stage, start = self.stage, flatten(self.trained)
        draw = np.random.default_rng(seed_of("clients", self.context.seed, number))
        chosen = sorted(draw.choice(stage.clients, self.taking_part, replace=False).tolist())
        weights = np.array([len(self.parts[client]) for client in chosen], dtype=float)
        weights /= weights.sum()
        mean, losses, sent_up = torch.zeros(self.entries), 0.0, 0
        buffers = [torch.zeros_like(buffer, device="cpu") for buffer in self.buffers]
        logits: list[Tensor] = []
        for client, weight in zip(chosen, weights.tolist(), strict=True):
            local = copy.deepcopy(self.module)
            losses += weight * self._train_client(local, client, number, start)
            local_parameters = trained_parameters(local)
            sent, count = self._send(flatten(local_parameters) - start, client, number)
            mean += weight * sent
            sent_up += count + self.buffer_bytes
            for total, buffer in zip(buffers, real_buffers(local), strict=True):
                total += weight * buffer.cpu()
            if stage.distill is not None:
                set_flat(local_parameters, start + sent)
                logits.append(logits_of(local, self.inputs, self.server_rows, self.device))
        if stage.distill is not None:
            mean = self._distill(start + mean, buffers, torch.stack(logits).mean(0), number) - start
        change, sent_down = self._send(mean, stage.clients, number)
        set_flat(self.trained, start + change)
        for buffer, total in zip(self.buffers, buffers, strict=True):
            buffer.copy_(total)
        rows = [torch.from_numpy(self.parts[client]) for client in chosen]
        join_moments(self.module, self.inputs, rows, weights.tolist(), self.device)
        self._evaluate(losses, sent_up + len(chosen) * (sent_down + self.buffer_bytes))

    def _distill(self, average: Tensor, buffers: list[Tensor], teacher: Tensor, number: int) -> Tensor:
        """The average after distillation on the server, (n,)."""
        assert self.stage.distill is not None  # noqa: S101  # as `run_round` checked
        averaged = copy.deepcopy(self.module)
        own = trained_parameters(averaged)
        set_flat(own, average)
        for buffer, total in zip(real_buffers(averaged), buffers, strict=True):
            buffer.copy_(total)
        generator = torch.Generator().manual_seed(seed_of("server", self.context.seed, number))
        rows, settings = self.server_rows, self.stage.distill
        distill_on_server(averaged, teacher, self.inputs, rows, settings, device=self.device, generator=generator)
        return flatten(own)

    def _train_client(self, local: nn.Module, client: int, number: int, start: Tensor) -> float:
        """Train the copy of a client; returns its mean loss in the last epoch."""
        stage, task = self.stage, self.context.task
        lr = stage.lr * lr_factor(number, stage.rounds, kind=stage.schedule, warmup=0.0)
        local.to(self.device).train()
        optimizer = build_optimizer(stage.optimizer, local, lr=lr, weight_decay=stage.weight_decay)
        parameters = trained_parameters(local)
        anchor = split_flat(start.to(self.device), parameters)
        seed = seed_of("client", self.context.seed, number, client)
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        losses: list[float] = []
        for _ in range(stage.local_epochs):
            losses = []
            for rows in self._batches(client, generator):
                inputs = {name: tensor[rows].to(self.device) for name, tensor in self.inputs.items()}
                targets = {name: tensor[rows].to(self.device) for name, tensor in self.targets.items()}
                loss = task.loss(task.training_forward(local, inputs, targets), targets)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                _add_proximal(parameters, anchor, stage.proximal)
                if stage.clip is not None:
                    nn.utils.clip_grad_norm_(parameters, stage.clip)
                optimizer.step()
                losses.append(float(loss.detach()))
        mean = sum(losses) / len(losses)
        if not math.isfinite(mean):
            clip = "" if stage.clip is not None else ", clip: 1.0"
            msg = gettext("the loss of client {client} is {mean} in round {number}; try a lower lr (now {lr:g}){clip}",
                          client=client, mean=mean, number=number + 1, lr=stage.lr, clip=clip)  # fmt: skip
            raise TrainingError(msg)
        return mean

    def _batches(self, client: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Rows of the batches of an epoch of a client, of equal size up to one sample, so that batch norm has no tiny batch."""
        part = torch.from_numpy(self.parts[client])
        batches = -(-len(part) // self.stage.batch_size)
        yield from part[torch.randperm(len(part), generator=generator)].tensor_split(batches)

    def _send(self, update: Tensor, sender: int, number: int) -> tuple[Tensor, int]:
        """What the receiver reads of an update, and its bytes; the sender keeps the rest."""
        settings = self.stage.update
        generator = torch.Generator().manual_seed(seed_of("update", self.context.seed, number, sender))
        error = self.errors[sender] if settings.error_feedback else torch.zeros(self.entries)
        sent, rest, count = compress_update(update, error, keep=settings.keep, bits=settings.bits, generator=generator)
        if settings.error_feedback:
            self.errors[sender] = rest
        return sent, count

    def _evaluate(self, loss: float, sent: int) -> None:
        scores = validation_scores(self.module, self.context)
        self.module.to("cpu")
        course, metric = self.course, self.context.task.metric_info
        if not course.metrics or metric.gain(course.metrics[course.best - 1], scores.metric) > 0:
            course.best = len(course.metrics) + 1
            self.best = _state(self.module)
        course.metrics.append(scores.metric)
        course.losses.append(loss)
        course.sent.append(sent)

    def select(self) -> None:
        """Give the network the selected weights."""
        if self.stage.keep == "best":
            self.module.load_state_dict(self.best)
        self.module.eval()

    def save(self, path: Path) -> None:
        """Write the state after a round."""
        if not is_main():
            return
        tensors = {f"now.{name}": tensor for name, tensor in _state(self.module).items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()} | {"errors": self.errors}
        course = json.dumps({name: value for name, value in vars(self.course).items() if name != "dense_bytes"})
        write_with(path, lambda aside: save_file(tensors, aside, metadata={"course": course}))

    def restore(self, path: Path) -> None:
        """Continue from a written state; without one, start anew."""
        if not path.exists():
            return
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
            course = json.loads(file.metadata()["course"])
        self.errors = tensors.pop("errors")
        self.module.load_state_dict({name.removeprefix("now."): t for name, t in tensors.items() if name.startswith("now.")})
        self.best = {name.removeprefix("best."): t for name, t in tensors.items() if name.startswith("best.")}
        self.course = Course(dense_bytes=self.course.dense_bytes, **course)


def _add_proximal(parameters: list[nn.Parameter], anchor: list[Tensor], mu: float) -> None:
    """Add μ (w_k − w), the gradient of the proximal term."""
    for parameter, start in zip(parameters, anchor, strict=True) if mu > 0 else ():
        if parameter.grad is not None:
            parameter.grad += mu * (parameter.detach() - start)


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
