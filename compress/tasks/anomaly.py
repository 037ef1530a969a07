"""Anomaly detection: is a part unlike good ones? Trained on good parts alone. Light: torch is imported when a loss is computed.

Networks give, see `compress.models.anomaly_networks`,

    score   (batch,)                        higher for a part that is less like good ones
    map     (batch, map_height, map_width)  at least 0: where it is unlike them

Students learn to give the features of a frozen reference network on good parts. On what they never saw they fail to, and the
distance of the features is the score: Bergmann et al. 2020, "Uninformed Students", CVPR, arXiv:1911.02357.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import TARGET, UNLABELLED, Tensors
from compress.tasks.base import Rows
from compress.tasks.capability import Capability
from compress.tasks.defect_metrics import Auroc, FalseAlarmRate, RecallAtFpr
from compress.tasks.defect_task import FPR, DefectTask
from compress.tasks.infer_code import InferCode
from compress.tasks.infer_defects import FIND_ANOMALY
from compress.tasks.metric import Scores, TaskMetric

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.output_agreement import OutputAgreement

SCORE, MAP = "score", "map"


def _score(outputs: Tensors) -> Tensor:
    return outputs[SCORE]


class Anomaly(DefectTask):
    """A score of each part, and a map of where it is unlike good parts; targets are class numbers (N,).

    Only good parts are trained on: the others are left out of the training split, or count in no loss where a loader of the
    user's own gives them. The validation split needs good parts for the threshold, and is best given some defective ones:
    without them AUROC cannot choose the best epoch, and the last is taken.

    Args:
        good: Name of the class of good parts. By default the one named `good`, else the first.
        fpr: Rate of false alarms that the threshold is chosen for.

    Attributes:
        name: `anomaly`.
        metrics: `auroc` decides, since it needs no threshold; the other two are those of the threshold.
        capabilities: Outputs are no classes.
        infer_code: Prints the verdict and draws the map.
    """

    name: ClassVar[str] = "anomaly"
    metrics: ClassVar[tuple[TaskMetric, ...]] = tuple(kind(_score, 0, FPR) for kind in (Auroc, RecallAtFpr, FalseAlarmRate))
    capabilities: ClassVar[frozenset[Capability]] = frozenset(("image_input", "row_per_sample"))
    infer_code: ClassVar[InferCode] = FIND_ANOMALY

    def defect_score(self, outputs: Tensors) -> Tensor:
        """The output `score`."""
        return _score(outputs)

    def own_metrics(self, recall: RecallAtFpr, alarms: FalseAlarmRate, area: Auroc) -> tuple[TaskMetric, ...]:
        """AUROC decides."""
        return (area, recall, alarms)

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Score and map; the size of the map is the network's own."""
        return (
            TensorSpec(name=SCORE, shape=(BATCH,)),
            TensorSpec(name=MAP, shape=(BATCH, "map_height", "map_width")),
        )

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Class numbers, (batch,)."""
        return (TensorSpec(name=TARGET, dtype="int64", shape=(BATCH,), values=(0, max(0, len(classes) - 1))),)

    def complete_spec(self, spec: NetworkSpec) -> NetworkSpec:
        """The specification with the task's outputs, also in place of the logits that sources of labelled images name.

        Raises:
            DataError: The data are for another task, or no class is that of good parts.
        """
        if spec.output_names == (LOGITS,) and spec.head_size == len(spec.classes):
            spec = spec.model_copy(update={"signature": spec.signature.model_copy(update={"outputs": ()})})
        return super().complete_spec(spec)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:  # noqa: ARG002
        """Mean of the map over the places of the good parts; 0 where the batch has none.

        The map is the mean over the students of the distance from the reference, so this is the loss of each student.

        Args:
            outputs: Score and map.
            targets: Class numbers.
            label_smoothing: Has no meaning here.

        Returns:
            Scalar, at least 0.
        """
        heat, good = outputs[MAP], targets[TARGET] == self.good_index
        return heat[good].mean() if bool(good.any()) else heat.sum() * 0.0

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """The map of each part as a row, without a class; 0 for parts that are not good, on which nothing is trained."""
        import torch

        good = targets[TARGET] == self.good_index
        rows = outputs[MAP].flatten(1) * good[:, None]
        return Rows(rows, torch.full((len(rows),), UNLABELLED, device=rows.device))

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """½, the AUROC of a score without knowledge."""
        return 0.5

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """Differences of the maps.

        Raises:
            ConversionError: Maps of different sizes, or values that are not finite.
        """
        from compress.tasks.output_agreement import compare_outputs

        return compare_outputs(*(each[MAP].flatten(1).numpy() for each in (reference, other))).without_classes()
