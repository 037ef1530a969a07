"""A small separable problem held in tensors, small networks, and scripts that run as processes of their own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import torch
import torch.distributed
from torch import nn

from compress.core.network_spec import image_spec
from compress.data.batch import Batch
from compress.data.interface import Data
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.response import Response
from compress.tasks.classification import Classification
from compress.train.loop import fit
from compress.train.plan import TrainingPlan
from compress.train.settings import Training

CLASSES = 3


class ToySplit:
    """Images (3, 8, 8) whose class is the channel that is bright; view v adds its own noise to each sample."""

    def __init__(self, size: int, seed: int, views: int | None = 2) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.targets = torch.arange(size) % CLASSES
        self.inputs = torch.randn(size, CLASSES, 8, 8, generator=generator)
        self.inputs[torch.arange(size), self.targets] += 1.0
        self.views = views
        self.fingerprint = f"toy-{size}-{seed}-{views}"

    def __len__(self) -> int:
        return len(self.targets)

    def _batch(self, samples: torch.Tensor, view: int | None) -> Batch:
        noise = torch.Generator().manual_seed(view or 0)
        shift = 0.1 * torch.randn(self.inputs.shape, generator=noise)[samples] if view is not None else 0.0
        views = None if view is None else torch.full_like(samples, view)
        return Batch.of(
            self.inputs[samples] + shift, self.targets[samples], samples if self.views else None, views if self.views else None
        )

    def ordered(self, batch_size: int):
        return (self._batch(part, None) for part in torch.arange(len(self)).split(batch_size))

    def epoch(self, number: int, batch_size: int, seed: int):
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(1000 * seed + number))
        return (self._batch(part, number % (self.views or 1)) for part in order.split(batch_size))

    def view(self, number: int, batch_size: int):
        return (self._batch(part, number) for part in torch.arange(len(self)).split(batch_size))

    def batches(self, batch_size: int) -> int:
        return -(-len(self) // batch_size)


def toy_data(views: int | None = 2) -> Data:
    spec = image_spec(channels=3, height=8, width=8, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("red", "green", "blue"))
    return Data(spec, ToySplit(48, 1, views), ToySplit(24, 2, views), ToySplit(24, 3, views))


def conv_net(seed: int = 0, width: int = 6) -> nn.Module:
    """With everything that makes resuming hard: batch norm, dropout, a convolution in channels-last layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        return nn.Sequential(*body, nn.Dropout(0.2), nn.Linear(4 * width, CLASSES)).eval()


def plain_net(seed: int = 0) -> nn.Module:
    """No batch norm, no dropout: a step depends on the whole batch's mean gradient alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, CLASSES)).eval()


SETTINGS = Training(epochs=4, batch_size=16, lr=0.01, ema=0.9, clip=5.0)


def train(module: nn.Module, folder: Path, training: Training = SETTINGS, **more):
    planned = {"data": toy_data(), "task": Classification(), "terms": (HardLabels(),), "seed": 3}
    planned |= {name: more.pop(name) for name in ("data", "task", "terms", "seed", "teacher", "curriculum") if name in more}
    return fit(module, TrainingPlan(training, **planned), folder=folder, **({"device": "cpu"} | more))


class Countdown:
    """An `after_step` that does something at its n-th call."""

    def __init__(self, steps: int, act) -> None:
        self.steps = steps
        self.act = act

    def __call__(self) -> None:
        self.steps -= 1
        if self.steps == 0:
            self.act()


def killed(folder: Path) -> None:
    """Dies in the middle of the third epoch."""
    train(conv_net(), folder, after_step=Countdown(7, lambda: signal.raise_signal(signal.SIGKILL)))


def one_of_several(folder: Path) -> None:
    """One process of a training on several; the losses need a teacher, and the last batch is too small to share out."""
    from compress.train.teachers.cached_logits import CachedTeacher
    from compress.train.teachers.logit_shards import LogitFolder

    data = toy_data()
    net = plain_net()
    settings = Training(epochs=2, batch_size=45, lr=0.05, optimizer="sgd", clip=1.0, ema=0.5)
    teacher = CachedTeacher(
        [plain_net(9)], data.train, Classification(), key="t", cache=LogitFolder(folder / "cache"), device="cpu"
    )
    train(net, folder, settings, data=data, terms=(HardLabels(), Response()), teacher=teacher)
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    torch.save(net.state_dict(), folder / f"rank{rank}.pt")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    {"killed": killed, "several": one_of_several}[sys.argv[1]](Path(sys.argv[2]))
