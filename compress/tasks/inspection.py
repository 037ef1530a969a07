"""Inspection: is a part good or defective, and by which kind of defect? Light: torch is imported when a loss is computed.

Classification with another measure of success. On a line, false alarms are what a detector of defects may cost, so it is judged
by the fraction of defects that it finds at a fixed rate of false alarms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.core.network_spec import LOGITS
from compress.data.batch import Tensors
from compress.tasks.classification import Classification, TopKAccuracy
from compress.tasks.defect_metrics import Auroc, FalseAlarmRate, RecallAtFpr
from compress.tasks.defect_task import FPR, DefectTask
from compress.tasks.infer_code import InferCode
from compress.tasks.infer_defects import INSPECT
from compress.tasks.metric import Scores, TaskMetric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


def log_odds(logits: Tensor, good: int) -> Tensor:
    """Score of defective parts, (N,): log(P(defect) / P(good)) = log Σ_{k ≠ good} exp z_k − z_good.

    It orders parts as the probability of a defect does, and still tells them apart where that is rounded to 1.

    Args:
        logits: z, (N, K).
        good: Class number of good parts.
    """
    import torch

    kinds = [index for index in range(logits.shape[1]) if index != good]
    return torch.logsumexp(logits[:, kinds], dim=1) - logits[:, good]


class Inspection(DefectTask, Classification):
    """One class out of K for each part, one of them that of good parts; outputs, targets and loss are those of classification.

    Args:
        good: Name of the class of good parts. By default the one named `good`, else the first.
        fpr: Rate of false alarms that the threshold is chosen for.

    Attributes:
        name: `inspection`.
        metrics: `recall_at_fpr` decides; `false_alarm_rate` says whether the threshold held on test.
        infer_code: Prints the verdict.
    """

    name: ClassVar[str] = "inspection"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (
        *(kind(lambda outputs: log_odds(outputs[LOGITS], 0), 0, FPR) for kind in (RecallAtFpr, FalseAlarmRate, Auroc)),
        TopKAccuracy(),
    )
    infer_code: ClassVar[InferCode] = INSPECT

    def defect_score(self, outputs: Tensors) -> Tensor:
        """See `log_odds`."""
        return log_odds(outputs[LOGITS], self.good_index)

    def own_metrics(self, recall: RecallAtFpr, alarms: FalseAlarmRate, area: Auroc) -> tuple[TaskMetric, ...]:
        """Recall decides; accuracy is the last."""
        return (recall, alarms, area, TopKAccuracy())

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """The rate of false alarms, that of the judged split where it is higher: guessing finds as many defects.

        A split without good parts shows no rate: there a network that calls every part defective finds all of them.
        """
        if (scores := statistics.get(self.metric)) is None:
            return self.fpr
        rate = self.metrics[1].value(scores)
        return max(self.fpr, rate) if rate == rate else 1.0  # NaN
