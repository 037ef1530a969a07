"""Networks whose outputs have no known meaning; the metric is the similarity to the outputs of the original network.

Targets are the outputs of the original network, which `compress.backends.reference_targets` adds to data without labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric
from compress.core.signature import TensorSpec
from compress.data.batch import Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.capability import Capability
from compress.tasks.further_results import FurtherResults
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.output_names import name_outputs

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement


def output_name(index: int) -> str:
    """Name of an output by its position, since the task has no other name."""
    return f"output_{index}"


class OutputSimilarity:
    """Similarity to the outputs of the original network: that of the least similar float output, averaged over the samples.

        s(z, ẑ) = max(0, 2⟨z, ẑ⟩ / (‖z‖² + ‖ẑ‖²)) = max(0, cos(z, ẑ)) · 2r / (1 + r²),   r = ‖ẑ‖ / ‖z‖

    It is the cosine similarity for outputs of equal norm, 1 − ‖ẑ − z‖² / (‖z‖² + ‖ẑ‖²), and falls where the size differs: a
    hundredth of z has 0.02. It has the form of the concordance coefficient of Lin 1989, Biometrics 45:255, without centring, so
    that one sample has a value. Each output is judged by itself, since a large one would hide a small one.

    Attributes:
        info: Its description.
        is_mean: No: a score is a real number and no hit or miss.
    """

    info: Metric = Metric(name="similarity", label="similarity to the original outputs", unit="fraction", higher_is_better=True)
    is_mean: bool = False

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """The score s of each sample and output, (N, outputs); 1 where both are zero, 0 where one is not finite."""
        import torch

        names = _compared(targets)
        return torch.stack([_similarity(targets[name], outputs[name]) for name in names], dim=1)

    def value(self, scores: Scores) -> float:
        """The least mean of an output."""
        return float(scores.mean(axis=0, dtype=np.float64).min())

    def resampled(self, scores: Scores) -> Callable[[NDArray[np.int64]], float]:
        """The value by how often each sample is drawn."""
        rows = scores.astype(np.float64)
        return lambda counts: float((counts @ rows).min() / counts.sum())

    def parts(self, scores: Scores) -> dict[str, Scores]:
        """Scores of each output, (N, 1), by its name."""
        return {output_name(index): scores[:, [index]] for index in range(scores.shape[1])}


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

    def further_results(
        self,
        statistics: Mapping[str, Scores],
        classes: Sequence[str],  # noqa: ARG002
        where: str,
    ) -> FurtherResults:
        """The similarity of each output, `similarity_NAME`, where there are several."""
        from compress.tasks.metric_quantity import estimate

        metric, scores = OutputSimilarity(), statistics.get(self.metric)
        if scores is None or scores.shape[1] < 2:
            return FurtherResults()
        return FurtherResults(
            {f"{self.metric}_{name}": estimate(metric, part, f"{where}, {name}") for name, part in metric.parts(scores).items()}
        )

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


def _compared(outputs: Tensors) -> list[str]:
    """Names of the float outputs with a value for each sample; of all outputs if none is a float."""
    return [name for name, values in outputs.items() if values.is_floating_point() and values.ndim] or list(outputs)


def _similarity(reference: Tensor, other: Tensor) -> Tensor:
    """The score s of each sample, (N,), see `OutputSimilarity`."""
    z, z_hat = (values.double().reshape(len(values), -1) for values in (reference, other))
    energy = z.square().sum(1) + z_hat.square().sum(1)
    score = (2 * (z * z_hat).sum(1) / energy).where(energy != 0, 1.0)
    return score.nan_to_num(0.0).clamp(0.0, 1.0).float()


def _joined(outputs: Tensors) -> Tensor:
    """Float outputs, (N, M); integer outputs if there are no others."""
    from compress.tasks.flat_outputs import flat_outputs

    return flat_outputs({name: outputs[name].float() for name in _compared(outputs)}).flatten(1)
