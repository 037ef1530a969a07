"""Classes or values of texts: one class, any number of classes, or real numbers, for a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel

from compress.core.frozen_model import FrozenModel
from compress.core.network_spec import NetworkSpec
from compress.core.signature import TensorSpec
from compress.data.batch import Split, Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.capability import Capability
from compress.tasks.classification import CalibrationError, Classification, TopKAccuracy
from compress.tasks.further_results import FurtherResults
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import Scores, TaskMetric
from compress.tasks.multilabel import MultiLabel
from compress.tasks.regression import Regression
from compress.tasks.text.infer_text import CLASSIFY_TEXT, PREDICT_TEXT, TAG_TEXT
from compress.tasks.text.similarity_metric import SPEARMAN
from compress.tasks.text.text_metrics import PEARSON, ClassMacroF1, MatthewsCorrelation, ValueCorrelation

if TYPE_CHECKING:
    from torch import Tensor

    from compress.tasks.calibration_samples import Sample
    from compress.tasks.output_agreement import OutputAgreement

Kind = Literal["single", "multilabel", "regression"]
_CODES: dict[Kind, InferCode] = {"single": CLASSIFY_TEXT, "multilabel": TAG_TEXT, "regression": PREDICT_TEXT}


class TextClassificationOptions(FrozenModel):
    """Options of the task `text_classification`.

    Attributes:
        kind: `single`, one class for each text; `multilabel`, any number of classes; `regression`, real numbers.
    """

    kind: Kind = "single"


class TextClassification(Task):
    """A class, any number of classes, or real numbers for each text or pair of texts.

    Loss, targets and outputs are those of the tasks `classification`, `multilabel` and `regression`.

    Args:
        kind: What a text has.

    Attributes:
        name: `text_classification`.
        metrics: The deciding metric is accuracy, macro F1, or the RMSE.
        capabilities: Those of the other task, without those of images.
        settings: `kind`.
        infer_code: Prints the answers for the texts of its command line.
    """

    name: ClassVar[str] = "text_classification"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (TopKAccuracy(), ClassMacroF1(), MatthewsCorrelation(), CalibrationError())
    capabilities: ClassVar[frozenset[Capability]] = Classification.capabilities - {"continuous_input", "image_input"}
    settings: ClassVar[type[BaseModel]] = TextClassificationOptions
    infer_code: ClassVar[InferCode] = CLASSIFY_TEXT

    def __init__(self, kind: Kind = "single") -> None:
        self.kind: Kind = kind
        inner: dict[Kind, Task] = {"single": Classification(), "multilabel": MultiLabel(), "regression": Regression()}
        self.inner = inner[kind]
        if kind != "single":
            # these are those of the kind
            further = (ValueCorrelation(SPEARMAN), ValueCorrelation(PEARSON)) if kind == "regression" else ()
            self.metrics = (*self.inner.metrics, *further)  # type: ignore[misc]
            self.capabilities = self.inner.capabilities - {"continuous_input", "image_input"}  # type: ignore[misc]
            self.infer_code = _CODES[kind]  # type: ignore[misc]

    @classmethod
    def infer_codes(cls) -> tuple[InferCode, ...]:
        """The code of each kind."""
        return tuple(_CODES.values())

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Logits or values, (batch, K)."""
        return self.inner.outputs(inputs, classes)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Those of the kind."""
        return self.inner.targets(classes)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of one or of each class, or squared error; arguments as for these tasks."""
        return self.inner.loss(outputs, targets, label_smoothing=label_smoothing)

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:
        """Those of the kind."""
        return self.inner.distillable(outputs, targets)

    def agreement(self, reference: Tensors, other: Tensors) -> OutputAgreement:
        """That of the kind; arguments and errors as for `Task.agreement`."""
        return self.inner.agreement(reference, other)

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that data fit the kind; errors as for its task."""
        self.inner.check_spec(spec)

    def calibration(self, split: Split, samples: int, seed: int, *, classes: int = 0) -> list[Sample]:
        """Of each class alike where a text has one class; arguments and errors as for `Task.calibration`."""
        return self.inner.calibration(split, samples, seed, classes=classes)

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:
        """That of the kind; arguments as for `Task.chance_level`."""
        return self.inner.chance_level(classes, statistics)

    def further_results(self, statistics: Mapping[str, Scores], classes: Sequence[str], where: str) -> FurtherResults:
        """Those of the kind; arguments as for `Task.further_results`."""
        return self.inner.further_results(statistics, classes, where)
