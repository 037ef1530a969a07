"""A set from a trained network alone, for whoever has no image left.

from compress.dataset_distillation.from_network import invert
invert(network, spec, Path("dreamt"))             # then `data: {source: "distilled:dreamt"}` in a recipe
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from compress.core.progress import NullReporter, Reporter
from compress.core.record import InputSpec
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context
from compress.data.interface import Batch, Data
from compress.data.sources.distilled_metadata import FILE
from compress.dataset_distillation.base import Inversion
from compress.dataset_distillation.stage import DatasetDistillation


class Nothing:
    """A split without samples."""

    fingerprint = ""
    views: int | None = 1

    def __len__(self) -> int:
        return 0

    def ordered(self, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """Nothing."""
        return iter(())

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """Nothing."""
        return iter(())

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:  # noqa: ARG002
        """Nothing."""
        return iter(())

    def batches(self, batch_size: int) -> int:  # noqa: ARG002
        """None."""
        return 0


def invert(
    network: nn.Module,
    spec: InputSpec,
    folder: Path,
    stage: DatasetDistillation | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Path:
    """Make a set that a trained network takes for data, and write it as the stage does.

    Args:
        network: With batch norms; takes float32 (N, C, H, W), gives logits (N, K). Left as it is.
        spec: Its input and class names.
        folder: Where to.
        stage: Settings; 10 images a class by default. Its teacher is the network.
        seed: Of the noise that the images start as.
        device: Where to compute.
        reporter: Progress.

    Returns:
        The file of the set.

    Raises:
        CompressError: The network has no batch norm that has seen data.
    """
    settings = (stage or DatasetDistillation(method=Inversion())).model_copy(update={"teacher": "parent", "control": False})
    context = Context(
        data=Data(spec, Nothing(), Nothing(), Nothing(), source=""),
        task=lookup("task", "classification").load()(),
        folder=folder,
        cache=folder / ".cache",
        seed=seed,
        device=device,
        reporter=reporter or NullReporter(),
    )
    settings.run(Candidate(spec, network), context)
    return folder / FILE
