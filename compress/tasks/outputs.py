"""Networks whose outputs have no known meaning; the metric is the similarity to the outputs of the original network.

Targets are the outputs of the original network, which `compress.backends.reference_targets` adds to data without labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric
from compress.core.signature import TensorSpec
from compress.data.batch import Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.capability import Capability
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.output_names import name_outputs

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement


def output_name(index: int) -> str:
    """Name of an output by its position, since the task has no other name."""
    return f"output_{index}"


class OutputSimilarity:
    """Mean cosine similarity with the outputs of the original network, all float outputs of a sample concatenated.

    Attributes:
        info: Its description.
        is_mean: No: a score is a real number and no hit or miss.
    """

    info: Metric = Metric(name="similarity", label="similarity to the original outputs", unit="fraction", higher_is_better=True)
    is_mean: bool = False

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """max(0, cos(z, ẑ)) of each sample, (N,); 1 where both are zero, 0 where an output is not finite."""
        import torch
        from torch.nn import functional as F

        z, z_hat = _joined(targets).double(), _joined(outputs).double()
        norms = z.norm(dim=1) * z_hat.norm(dim=1)
        cosine = torch.where(norms > 0, F.cosine_similarity(z, z_hat, dim=1), (z.norm(dim=1) == z_hat.norm(dim=1)).double())
        return cosine.clamp(0.0, 1.0).nan_to_num(0.0).float()

    def value(self, scores: Scores) -> float:
        """The mean."""
        return float(scores.mean())


class Outputs(Task):
    """A network from any source: no loss on labels; the metric is the similarity to the original network.

    Attributes:
        name: `outputs`.
        metrics: `similarity`.
        capabilities: Those that its inputs allow.
    """

    name: ClassVar[str] = "outputs"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (OutputSimilarity(),)
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("continuous_input", "image_input"))

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """No required outputs: those of the network are used."""
        return ()

    def complete_spec(self, spec: NetworkSpec) -> NetworkSpec:
        """The unchanged specification."""
        return spec

    def name_outputs(self, outputs: object) -> Tensors:
        """All outputs by position."""
        count = len(outputs) if isinstance(outputs, (tuple, list, Mapping)) else 1
        values = tuple(outputs.values()) if isinstance(outputs, Mapping) else outputs
        return name_outputs(values, tuple(output_name(index) for index in range(count)))

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:  # noqa: ARG002
        """Squared error relative to the original outputs, ‖ẑ − z‖² / ‖z‖², averaged over the samples."""
        z, z_hat = _joined(targets), _joined(outputs)
        energy = z.square().sum(1).clamp_min(1e-12)
        loss: Tensor = ((z_hat - z).square().sum(1) / energy).mean()
        return loss

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """All float outputs of a sample concatenated, without classes."""
        import torch

        logits = _joined(outputs)
        del targets
        return Rows(logits, torch.full((len(logits),), -1, device=logits.device))

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Agreement of all float outputs concatenated.

        Raises:
            ConversionError: The shapes differ, or values are not finite.
        """
        from compress.tasks.output_agreement import compare_outputs

        return compare_outputs(_joined(reference).numpy(), _joined(other).numpy())


def _joined(outputs: Tensors) -> Tensor:
    """Float outputs, (N, M); integer outputs if there are no others."""
    from compress.tasks.flat_outputs import flat_outputs

    floats = {name: values for name, values in outputs.items() if values.is_floating_point()}
    return flat_outputs(floats or {name: values.float() for name, values in outputs.items()}).flatten(1)
