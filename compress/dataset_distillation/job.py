"""What a method of data distillation is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from compress.core.errors import CompressError
from compress.core.progress import Reporter
from compress.core.record import InputSpec
from compress.dataset_distillation.class_pools import Real
from compress.dataset_distillation.convnet import ConvNet, deepest
from compress.train.seeding import derive_seed

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Made:
    """A set as a method leaves it.

    Attributes:
        images: Float32 (N, C, H, W), normalised, on the CPU, class by class.
        targets: Int64 (N,), sorted.
        losses: Loss at each change of the images; empty where nothing was minimised.
        learned: Numbers that were learned beside the images.
        notes: Sentences for the record.
    """

    images: Tensor
    targets: Tensor
    losses: Sequence[float] = ()
    learned: dict[str, float] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Job:
    """One set to make.

    Attributes:
        spec: Input and classes.
        images_per_class: How many.
        width: Channels of the networks that images are judged with.
        depth: Their blocks.
        operations: Augmentation; see `compress.data.differentiable_augment`.
        device: Where to compute.
        seed: Of everything random.
        folder: For checkpoints.
        cache: For what other runs can use.
        identity: Hash of all that the set depends on.
        reporter: Progress.
        real: Training images; None for methods that do not look at them.
        network: A trained network; None for methods that ask none.
    """

    spec: InputSpec
    images_per_class: int
    width: int
    depth: int
    operations: tuple[str, ...]
    device: torch.device
    seed: int
    folder: Path
    cache: Path
    identity: str
    reporter: Reporter
    real: Real | None = None
    network: nn.Module | None = None

    def seeded(self, *numbers: int) -> torch.Generator:
        """A generator for one use, the same for the same numbers."""
        return torch.Generator().manual_seed(derive_seed(self.seed, *numbers))

    def fresh(self, *numbers: int) -> ConvNet:
        """A network with fresh weights, on the device; the same for the same numbers."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, *numbers))
            depth = min(self.depth, deepest(self.spec))
            network = ConvNet(self.spec.channels, len(self.spec.classes), self.spec.shape[1:], width=self.width, depth=depth)
        return network.to(self.device)

    def targets(self) -> Tensor:
        """Classes of the set, sorted, int64 (N,)."""
        return torch.arange(len(self.spec.classes)).repeat_interleave(self.images_per_class)

    def images(self) -> Real:
        """The real images of a method that declared to look at them."""
        if self.real is None:
            msg = "a method that looks at real images must declare looks_at_data"
            raise TypeError(msg)
        return self.real

    def asked(self) -> nn.Module:
        """The trained network of a method that declared to ask one.

        Raises:
            CompressError: There is none.
        """
        if self.network is None:
            msg = "this method needs a trained network; add `teacher: {source: …}` to the recipe, or say teacher: parent"
            raise CompressError(msg)
        return self.network


@contextmanager
def frozen(network: Network) -> Iterator[Network]:
    """The network without gradients for its weights, as it was afterwards."""
    asked = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    network.requires_grad_(False)
    try:
        yield network
    finally:
        for parameter, before in asked:
            parameter.requires_grad_(before)
