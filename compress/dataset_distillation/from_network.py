"""A synthetic set from a trained network alone, without any image.

from compress.dataset_distillation.from_network import invert
invert(network, spec, Path("dreamt"))             # then `data: {source: "distilled:dreamt"}` in a recipe
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import nn

from compress.core.network_spec import NetworkSpec
from compress.core.progress import NullReporter, Reporter
from compress.core.registry import lookup
from compress.core.stage import Candidate, Context
from compress.data.batch import Batch
from compress.data.interface import Data
from compress.data.sources.distilled_metadata import FILE
from compress.dataset_distillation.deep_inversion import DeepInversion
from compress.dataset_distillation.stage import DatasetDistillation


class EmptySplit:
    """A split without samples."""

    fingerprint = ""
    views: int | None = 1

    def __len__(self) -> int:
        return 0

    def ordered(self, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """EmptySplit."""
        return iter(())

    def view(self, number: int, batch_size: int) -> Iterator[Batch]:  # noqa: ARG002
        """EmptySplit."""
        return iter(())

    def epoch(self, number: int, batch_size: int, seed: int) -> Iterator[Batch]:  # noqa: ARG002
        """EmptySplit."""
        return iter(())

    def batches(self, batch_size: int) -> int:  # noqa: ARG002
        """Zero."""
        return 0


def invert(
    network: nn.Module,
    spec: NetworkSpec,
    folder: Path,
    stage: DatasetDistillation | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Path:
    """Synthesize a set from a trained network, and write it as the stage does.

    Args:
        network: With batch norms; takes float32 (N, C, H, W), gives logits (N, K). Left as it is.
        spec: Its input and class names.
        folder: Folder of the files.
        stage: Settings; 10 images per class by default. Its teacher is the network.
        seed: Seed of the initial noise.
        device: Device of the computation.
        reporter: Progress bar; None shows nothing.

    Returns:
        The file of the set.

    Raises:
        CompressError: The network has no batch norm with trained statistics.
    """
    settings = (stage or DatasetDistillation(method=DeepInversion())).model_copy(update={"teacher": "parent", "control": False})
    context = Context(
        data=Data(spec, EmptySplit(), EmptySplit(), EmptySplit(), source=""),
        task=lookup("task", "classification").load()(),
        folder=folder,
        cache=folder / ".cache",
        seed=seed,
        device=device,
        reporter=reporter or NullReporter(),
    )
    settings.run(Candidate(spec, network), context)
    return folder / FILE
