"""Limits on the metrics of a task, as settings name them: on a metric itself, and on how much of it is lost.

- `accuracy: 0.9`: at least 90 %, since higher is better;
- `accuracy_drop: 0.01`: at most one point less than the reference;
- `perplexity: 20`: at most 20, since lower is better;
- `perplexity_rise: 0.03`: at most 0.03 more than the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from compress.core.errors import CompressError, nearest
from compress.core.frozen_model import FrozenModel
from compress.core.record import Metric
from compress.core.registry import lookup, names

LOSSES = ("_drop", "_rise")
"""Ends of the names of limits on a loss."""


@dataclass(frozen=True)
class MetricLimit:
    """One limit.

    Attributes:
        metric: What it limits.
        bound: In the metric's unit.
        is_loss: Whether it limits the loss against a reference; else the metric itself.
    """

    metric: Metric
    bound: float
    is_loss: bool

    @property
    def name(self) -> str:
        """Name of the quantity that it limits."""
        return self.metric.loss_name if self.is_loss else self.metric.name

    @property
    def words(self) -> str:
        """The quantity in words."""
        return f"{self.metric.label} {self.metric.change}" if self.is_loss else self.metric.label

    @property
    def is_lower_bound(self) -> bool:
        """Whether the quantity must be at least the bound."""
        return self.metric.higher_is_better and not self.is_loss

    @property
    def unit(self) -> str:
        """Unit to show the bound in: points for a difference of fractions."""
        return difference_unit(self.metric) if self.is_loss else self.metric.unit

    @property
    def fault(self) -> str:
        """Why the bound is impossible; empty where it is fine."""
        fraction = self.metric.unit == "fraction"
        if self.is_loss and not 0 <= self.bound < (1 if fraction else math.inf):
            allowed = (
                "at least 0 and under 1; 0.01 is one point" if fraction else f"at least 0, in units of {self.metric.label}"
            )
        elif not self.is_loss and fraction and not 0 < self.bound <= 1:
            allowed = "over 0 and at most 1; 0.9 is 90 %"
        else:
            return ""
        return f"must be {allowed}; got {self.bound:g}"

    def exceeded_by(self, value: float, reference: float | None) -> bool:
        """Whether a value of the metric breaks the limit, as NaN does; a limit on a loss without a reference does not.

        Args:
            value: Of the metric.
            reference: Its value before.
        """
        if not self.is_loss:
            return not self.metric.gain(self.bound, value) >= 0
        return reference is not None and not -self.metric.gain(reference, value) <= self.bound


def difference_unit(metric: Metric) -> str:
    """Unit to show a difference of two values in: points for fractions, so that nobody takes them for relative."""
    return "points" if metric.unit == "fraction" else metric.unit


def allowed_loss(share: float, metric: Metric, reference: Callable[[], float]) -> float:
    """A limit on the loss, given as a share: of 1 for a fraction, so that 0.01 is one point, else of the reference's value."""
    return share if metric.unit == "fraction" else share * abs(reference())


class MetricLimits(FrozenModel):
    """Settings that limit metrics of the task by name beside fields of their own.

    Which names there are depends on the task, so `faults` is asked once the task is known.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float]

    only_deciding_loss: ClassVar[bool] = False
    """Whether the one limit allowed is that on the loss of the deciding metric."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, settings: object) -> object:
        """Leave out limits that are null, as in recipes written with every default."""
        if not isinstance(settings, Mapping):
            return settings
        return {key: value for key, value in settings.items() if value is not None or key in cls.model_fields}

    @model_validator(mode="after")
    def _check_losses(self) -> Self:
        negative = [name for name in self.loss_limits if self.limits[name] < 0]
        if negative:
            msg = f"{negative[0]} limits a loss and must be at least 0, got {self.limits[negative[0]]:g}"
            raise ValueError(msg)
        return self

    @property
    def limits(self) -> dict[str, float]:
        """Bounds by name."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def loss_limits(self) -> tuple[str, ...]:
        """Names of the limits that compare with a reference."""
        return tuple(name for name in self.limits if name.endswith(LOSSES))

    def metric_limits(self, metrics: Sequence[Metric]) -> tuple[MetricLimit, ...]:
        """Its limits on these metrics, the deciding one first."""
        possible = self._possible(metrics)
        limits = self.limits
        return tuple(
            MetricLimit(metric, limits[name], is_loss) for name, (metric, is_loss) in possible.items() if name in limits
        )

    def loss_limit(self, metric: Metric) -> float | None:
        """The limit on the loss of a metric; None where there is none."""
        return self.limits.get(metric.loss_name)

    def faults(self, task: str, metrics: Sequence[Metric]) -> Iterator[tuple[str, str]]:
        """Names of limits that the task cannot have, each with a sentence.

        Args:
            task: Its name.
            metrics: Its metrics, the deciding one first.
        """
        possible = self._possible(metrics)
        for name in self.limits:
            if name not in possible:
                yield name, _unknown(name, task, metrics, (*type(self).model_fields, *possible))
        for limit in self.metric_limits(metrics):
            if limit.fault:
                yield limit.name, limit.fault

    @classmethod
    def _possible(cls, metrics: Sequence[Metric]) -> dict[str, tuple[Metric, bool]]:
        """Metric and whether the limit is on its loss, by name."""
        if cls.only_deciding_loss:
            return {metric.loss_name: (metric, True) for metric in metrics[:1]}
        named = {metric.loss_name: (metric, True) for metric in metrics}
        return named | {metric.name: (metric, False) for metric in metrics}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        tree = handler(schema)
        inside = handler.resolve_ref_schema(tree)
        described = {name: text for metrics in _metrics_by_task() for name, text in cls._described(metrics)}
        limits = {name: {"type": "number", "description": text} for name, text in described.items()}
        inside.update(additionalProperties=False, properties={**limits, **inside.get("properties", {})})
        return tree

    @classmethod
    def _described(cls, metrics: Sequence[Metric]) -> Iterable[tuple[str, str]]:
        for name, (metric, is_loss) in cls._possible(metrics).items():
            fraction = ", as a fraction (0.01 is one point)" if metric.unit == "fraction" else ""
            if is_loss:
                yield name, f"Largest {metric.change} of the {metric.label}{fraction}."
            else:
                yield name, f"{'Smallest' if metric.higher_is_better else 'Largest'} {metric.label}{fraction}."


def _unknown(name: str, task: str, metrics: Sequence[Metric], allowed: Iterable[str]) -> str:
    for metric in metrics:
        if name in (f"{metric.name}_{change.removeprefix('_')}" for change in LOSSES) and name != metric.loss_name:
            better = "higher" if metric.higher_is_better else "lower"
            return f"{metric.label} is better when {better}, so its loss is a {metric.change}; write {metric.loss_name}"
    listed = ", ".join(metric.name for metric in metrics)
    return f"unknown key, and no metric of the task {task}, which has {listed}: {nearest(name, set(allowed))}"


def _metrics_by_task() -> Iterator[tuple[Metric, ...]]:
    for name in names("task"):
        with suppress(CompressError):  # tasks of broken packages are left out
            yield tuple(metric.info for metric in lookup("task", name).load().metrics)
