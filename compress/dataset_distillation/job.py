"""Input and output of the methods of dataset distillation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from compress.core.errors import CompressError
from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.progress import Reporter
from compress.dataset_distillation.class_pools import ClassPools
from compress.dataset_distillation.convnet import ConvNet, max_depth
from compress.train.seeding import derive_seed

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class SyntheticSet:
    """The set that a method made.

    Attributes:
        images: Float32 (N, C, H, W), normalised, on the CPU, class by class.
        targets: Int64 (N,), sorted.
        losses: Loss before each update of the images; empty where no loss was minimised.
        learned: Scalars that were learned together with the images.
        notes: Facts for the record.
    """

    images: Tensor
    targets: Tensor
    losses: Sequence[float] = ()
    learned: dict[str, float] | None = None
    notes: tuple[Fact, ...] = ()


@dataclass(frozen=True, eq=False)
class SynthesisTask:
    """One set to synthesize.

    Attributes:
        spec: Input and classes.
        images_per_class: Images of each class.
        width: Channels of the networks that are trained on or applied to the images.
        depth: Their number of blocks.
        operations: Augmentation; see `compress.data.differentiable_augment`.
        device: Where to compute.
        seed: Seed of all random numbers.
        folder: For checkpoints.
        cache: Folder for files that other runs can use.
        identity: Hash of everything that the set depends on.
        reporter: Progress.
        pools: Training images; None for methods that do not use them.
        network: A trained network; None for methods that need none.
    """

    spec: NetworkSpec
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
    pools: ClassPools | None = None
    network: nn.Module | None = None

    def generator(self, *indices: int) -> torch.Generator:
        """A random generator; the same for the same indices."""
        return torch.Generator().manual_seed(derive_seed(self.seed, *indices))

    def random_network(self, *indices: int) -> ConvNet:
        """A network with random weights, on the device; the same for the same indices."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, *indices))
            depth = min(self.depth, max_depth(self.spec))
            network = ConvNet(self.spec.channels, len(self.spec.classes), self.spec.shape[1:], width=self.width, depth=depth)
        return network.to(self.device)

    def targets(self) -> Tensor:
        """Classes of the set, sorted, int64 (N,)."""
        return torch.arange(len(self.spec.classes)).repeat_interleave(self.images_per_class)

    def real_images(self) -> ClassPools:
        """The real images, for a method that declares `uses_real_images`."""
        if self.pools is None:
            msg = gettext("a method that uses real images must declare uses_real_images = True")
            raise TypeError(msg)
        return self.pools

    def trained_network(self) -> nn.Module:
        """The trained network, for a method that declares `needs_network`.

        Raises:
            CompressError: There is none.
        """
        if self.network is None:
            msg = gettext(
                "this method needs a trained network; add `teacher: {source: …}` to the recipe, or write teacher: parent"
            )
            raise CompressError(msg)
        return self.network


@contextmanager
def no_grad_params(network: Network) -> Iterator[Network]:
    """The network without gradients of its weights; afterwards each weight is as it was."""
    states = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    network.requires_grad_(False)
    try:
        yield network
    finally:
        for parameter, requires_grad in states:
            parameter.requires_grad_(requires_grad)
