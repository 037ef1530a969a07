"""Regression: real numbers for each sample, such as an age or an angle. torch is imported only for computations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from pydantic import BaseModel, Field

from compress.core.errors import CompressError, DataError
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.network_spec import NetworkSpec
from compress.core.record import Metric
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import TARGET, UNLABELLED, Tensors
from compress.tasks.base import Rows, Task
from compress.tasks.capability import Capability
from compress.tasks.further_results import FurtherResults
from compress.tasks.infer_code import InferCode
from compress.tasks.metric import RatioOfSums, Scores, TaskMetric

if TYPE_CHECKING:
    from torch import Tensor

VALUES = "values"
"""Name of the output."""
Error = Literal["squared", "absolute", "huber"]
RMSE = Metric(name="rmse", label="RMSE", unit="1", higher_is_better=False)
MAE = Metric(name="mae", label="mean absolute error", unit="1", higher_is_better=False)
R2 = Metric(name="r2", label="R²", unit="1", higher_is_better=True)

PREDICT = InferCode(
    "Print the values:  python infer.py INPUT",
    '''

def predict(path):
    """The values by their names."""
    values = next(iter(run(preprocess(path)).values()))[0]
    labels = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))
    return dict(zip(labels, map(float, values)))


if __name__ == "__main__":
    try:
        answers = predict(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    except (OSError, ValueError) as error:
        sys.exit(f"cannot predict {sys.argv[1]}: {error}")
    for label, value in answers.items():
        print(f"{label}: {value:.6g}")
''',
)


def residuals(values: Tensor, targets: Tensor, period: float | None) -> Tensor:
    """Predicted minus true values, (N, V); for values with a period P, in [−P/2, P/2)."""
    difference = values - targets
    return difference if period is None else (difference + period / 2).remainder(period) - period / 2


class MeanError(RatioOfSums):
    """Mean of the absolute or the squared errors over samples and values; the root of the latter is the RMSE.

    Args:
        info: `MAE` or `RMSE`.
        period: Period of the values, or None.
    """

    def __init__(self, info: Metric, period: float | None = None) -> None:
        super().__init__(info)
        self.period = period

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Sum of the errors and number of values of each sample, (N, 2); not finite if an output is not finite."""
        import torch

        error = residuals(outputs[VALUES], targets[TARGET], self.period)
        each = error.square() if self.info == RMSE else error.abs()
        return torch.stack([each.sum(1), torch.full_like(each[:, 0], each.shape[1])], dim=1)

    def value(self, scores: Scores) -> float:
        """The mean error of these samples."""
        mean = super().value(scores)
        return float(mean**0.5) if self.info == RMSE else mean


class Determination:
    """Coefficient of determination R² = 1 − Σ(ŷ − y)² / Σ(y − c)², the mean over the values; c is the best constant answer.

    That is the mean, and for values with a period the answer of the least squared error, see `constant_errors`.

    Args:
        period: Period of the values, or None.

    Attributes:
        info: Its description.
        is_mean: No.
    """

    info: Metric = R2
    is_mean: bool = False

    def __init__(self, period: float | None = None) -> None:
        self.period = period

    def scores(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Squared error, target and its square of each value, float64 (N, 3V)."""
        import torch

        y = targets[TARGET].double()
        error = residuals(outputs[VALUES].double(), y, self.period)
        return torch.cat([error.square(), y, y.square()], dim=1)

    def value(self, scores: Scores) -> float:
        """R² of these samples; NaN if all targets are equal."""
        import numpy as np

        from compress.tasks.value_errors import constant_errors

        error, total, squares = scores.sum(axis=0, dtype=np.float64).reshape(3, -1)
        spread = squares - total**2 / len(scores)
        if self.period is not None:
            targets = np.split(scores.astype(np.float64), 3, axis=1)[1]
            spread = (constant_errors(targets, self.period) ** 2).sum(axis=0)
        varied = spread > 1e-12 * np.maximum(squares, 1e-300)
        return float((1 - error[varied] / spread[varied]).mean()) if varied.any() else float("nan")


class RegressionOptions(FrozenModel):
    """Options of the task `regression`.

    Attributes:
        error: What the loss averages: `squared`; `absolute`; `huber`, squared up to 1 and absolute beyond.
        period: Of values that repeat, such as 360 for degrees: errors are those to the nearest equal value. None for none.
    """

    error: Error = "squared"
    period: float | None = Field(default=None, gt=0.0)


class Regression(Task):
    """V real numbers for each sample; outputs are values (N, V), targets float32 (N, V). The data's classes are their names.

    Args:
        error: What the loss averages: `squared`; `absolute`; `huber`, squared up to 1 and absolute beyond.
        period: Period P of the values, such as 360 for degrees: errors are at most P/2.

    Attributes:
        name: `regression`.
        metrics: The deciding metric is `rmse`; lower is better.
        capabilities: Outputs are no classes; losses compare them as numbers.
        settings: `error` and `period`.
        infer_code: Prints the values.

    Raises:
        CompressError: The error is unknown, or the period is not above 0.
    """

    name: ClassVar[str] = "regression"
    metrics: ClassVar[tuple[TaskMetric, ...]] = (MeanError(RMSE), MeanError(MAE), Determination())
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        ("continuous_input", "row_per_sample", "sample_vector", "image_input")
    )
    settings: ClassVar[type[BaseModel]] = RegressionOptions
    infer_code: ClassVar[InferCode] = PREDICT

    def __init__(self, error: Error = "squared", period: float | None = None) -> None:
        if error not in get_args(Error) or not (period is None or period > 0):
            errors = ", ".join(get_args(Error))
            msg = gettext(
                "regression has error {error!r} and period {period}; use one of {errors}, and a period above 0",
                error=error,
                period=period,
                errors=errors,
            )
            raise CompressError(msg)
        self.error, self.period = error, period
        # the metrics use the period of the task
        self.metrics = (MeanError(RMSE, period), MeanError(MAE, period), Determination(period))  # type: ignore[misc]

    def outputs(self, inputs: Sequence[TensorSpec], classes: Sequence[str]) -> tuple[TensorSpec, ...]:  # noqa: ARG002
        """Values, (batch, V)."""
        return (TensorSpec(name=VALUES, shape=(BATCH, len(classes))),)

    def targets(self, classes: Sequence[str]) -> tuple[TensorSpec, ...]:
        """Values, (batch, V)."""
        return (TensorSpec(name=TARGET, shape=(BATCH, len(classes))),)

    def check_spec(self, spec: NetworkSpec) -> None:
        """Check that the values have names.

        Raises:
            DataError: There are none.
        """
        if not spec.classes:
            msg = gettext(
                "regression needs the names of its values as the classes of the data, such as ['age']; there are none"
            )
            raise DataError(msg)

    def loss(self, outputs: Tensors, targets: Tensors, *, label_smoothing: float = 0.0) -> Tensor:  # noqa: ARG002
        """Mean error over samples and known values, see `error`; 0 if none is known.

        Args:
            outputs: Values, (N, V).
            targets: True values, (N, V); NaN for unknown ones.
            label_smoothing: Not used.

        Returns:
            Scalar, at least 0.
        """
        import torch
        from torch.nn import functional as F

        y = targets[TARGET]
        known = ~y.isnan()
        if not bool(known.any()):
            return outputs[VALUES].sum() * 0.0
        error = residuals(outputs[VALUES], y, self.period)[known]
        if self.error == "huber":
            return F.huber_loss(error, torch.zeros_like(error))
        return error.square().mean() if self.error == "squared" else error.abs().mean()

    def chance_level(self, classes: Sequence[str], statistics: Mapping[str, Scores]) -> float | None:  # noqa: ARG002
        """The RMSE of one answer for all samples; P/√12, of evenly spread values with a period P, without statistics."""
        from compress.tasks.value_errors import ValueErrors

        scores = statistics.get(R2.name)
        if scores is not None:
            return float((ValueErrors.of(scores, self.period).constant ** 2).mean() ** 0.5)
        if self.metric in statistics:
            return 0.0  # R² has no value where all targets are equal: one answer has no error
        return None if self.period is None else self.period / 12**0.5

    def further_results(self, statistics: Mapping[str, Scores], classes: Sequence[str], where: str) -> FurtherResults:
        """The metrics of each of several values, and a warning for each that is no better than a constant; see `value_results`.

        The constant is the median where the loss is the absolute error, else the mean, of the values of the test split.
        """
        from compress.tasks.value_errors import value_results

        scores = statistics.get(R2.name)
        if scores is None:
            return FurtherResults()
        return value_results(scores, classes, self.period, where, absolute=self.error == "absolute")

    def distillable(self, outputs: Tensors, targets: Tensors) -> Rows:  # noqa: ARG002
        """The values; for values v with a period P the points (cos 2πv/P, sin 2πv/P) · P/2π."""
        import math

        import torch

        values = outputs[VALUES]
        if self.period is not None:
            angle = values * (2 * math.pi / self.period)
            values = torch.cat([angle.cos(), angle.sin()], dim=1) * (self.period / (2 * math.pi))
        none = torch.full((len(values),), UNLABELLED, device=values.device)
        return Rows(values, none)
