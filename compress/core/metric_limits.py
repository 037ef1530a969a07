"""Limits on the metrics of a task in settings: on a metric, and on its loss against a reference.

- `accuracy: 0.9`: at least 90 %, since higher is better;
- `accuracy_drop: 0.01`: at most one percentage point less than the reference;
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
from compress.core.format_quantity import difference_unit
from compress.core.frozen_model import FrozenModel
from compress.core.language import gettext
from compress.core.record import Metric
from compress.core.registry import lookup, names

LOSSES = ("_drop", "_rise")
"""Suffixes of the names of limits on a loss."""


@dataclass(frozen=True)
class MetricLimit:
    """One limit.

    Attributes:
        metric: The metric.
        bound: The bound, in the unit of the metric.
        is_loss: Whether it limits the loss against a reference, not the metric.
    """

    metric: Metric
    bound: float
    is_loss: bool

    @property
    def name(self) -> str:
        """Name of the limited quantity."""
        return self.metric.loss_name if self.is_loss else self.metric.name

    @property
    def words(self) -> str:
        """Label of the limited quantity."""
        return (
            gettext("{label} {change}", label=gettext(self.metric.label), change=_change(self.metric))
            if self.is_loss
            else gettext(self.metric.label)
        )

    @property
    def is_lower_bound(self) -> bool:
        """Whether the quantity must be at least the bound."""
        return self.metric.higher_is_better and not self.is_loss

    @property
    def unit(self) -> str:
        """Display unit of the bound: points for a difference of fractions."""
        return difference_unit(self.metric.unit) if self.is_loss else self.metric.unit

    @property
    def fault(self) -> str:
        """Why the bound is impossible; empty if it is valid."""
        fraction = self.metric.unit == "fraction"
        if self.is_loss and not 0 <= self.bound < (1 if fraction else math.inf):
            allowed = (
                gettext("at least 0 and below 1; 0.01 is one percentage point")
                if fraction
                else gettext("at least 0, in units of {label}", label=gettext(self.metric.label))
            )
        elif not self.is_loss and fraction and not 0 < self.bound <= 1:
            allowed = gettext("above 0 and at most 1; 0.9 is 90 %")
        else:
            return ""
        return gettext("must be {allowed}; got {bound:g}", allowed=allowed, bound=self.bound)

    def exceeded_by(self, value: float, reference: float | None) -> bool:
        """Whether a value of the metric breaks the limit, as NaN does; a limit on a loss without a reference does not.

        Args:
            value: Value of the metric.
            reference: Value of the metric before, or None.
        """
        if not self.is_loss:
            return not self.metric.gain(self.bound, value) >= 0
        return reference is not None and not -self.metric.gain(reference, value) <= self.bound


def allowed_loss(share: float, metric: Metric, reference: Callable[[], float]) -> float:
    """A relative limit on the loss as an absolute one: of 1 for a fraction (0.01 is one point), else of the reference."""
    return share if metric.unit == "fraction" else share * abs(reference())


class MetricLimits(FrozenModel):
    """Settings that limit metrics of the task by name, in addition to their own fields.

    The names depend on the task, so `faults` checks them when the task is known.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float]

    only_deciding_loss: ClassVar[bool] = False
    """Whether only a limit on the loss of the deciding metric is allowed."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, settings: object) -> object:
        """Remove limits that are null, as in recipes written with all defaults."""
        if not isinstance(settings, Mapping):
            return settings
        return {key: value for key, value in settings.items() if value is not None or key in cls.model_fields}

    @model_validator(mode="after")
    def _check_losses(self) -> Self:
        negative = [name for name in self.loss_limits if self.limits[name] < 0]
        if negative:
            msg = gettext(
                "{negative} limits a loss and must be at least 0, got {limits:g}",
                negative=negative[0],
                limits=self.limits[negative[0]],
            )
            raise ValueError(msg)
        return self

    @property
    def limits(self) -> dict[str, float]:
        """Bounds by name."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def loss_limits(self) -> tuple[str, ...]:
        """Names of the limits on a loss."""
        return tuple(name for name in self.limits if name.endswith(LOSSES))

    def metric_limits(self, metrics: Sequence[Metric]) -> tuple[MetricLimit, ...]:
        """Limits on these metrics, that on the deciding metric first."""
        possible = self._possible(metrics)
        limits = self.limits
        return tuple(
            MetricLimit(metric, limits[name], is_loss) for name, (metric, is_loss) in possible.items() if name in limits
        )

    def loss_limit(self, metric: Metric) -> float | None:
        """The limit on the loss of a metric, or None."""
        return self.limits.get(metric.loss_name)

    def faults(self, task: str, metrics: Sequence[Metric]) -> Iterator[tuple[str, str]]:
        """Names of limits that are not valid for the task, each with the reason.

        Args:
            task: Name of the task.
            metrics: Metrics of the task, the deciding one first.
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
        """(metric, whether the limit is on its loss) by name."""
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
            fraction = gettext(", as a fraction (0.01 is one point)") if metric.unit == "fraction" else ""
            if is_loss:
                yield (
                    name,
                    gettext(
                        "Largest {change} of the {label}{fraction}.",
                        change=_change(metric),
                        label=gettext(metric.label),
                        fraction=fraction,
                    ),
                )
            else:
                template = (
                    gettext("Smallest {label}{fraction}.") if metric.higher_is_better else gettext("Largest {label}{fraction}.")
                )
                yield name, template.format(label=gettext(metric.label), fraction=fraction)


def _unknown(name: str, task: str, metrics: Sequence[Metric], allowed: Iterable[str]) -> str:
    for metric in metrics:
        if name in (f"{metric.name}_{change.removeprefix('_')}" for change in LOSSES) and name != metric.loss_name:
            better = gettext("higher") if metric.higher_is_better else gettext("lower")
            return gettext(
                "{label} is better when {better}, so its loss is a {change}; write {loss_name}",
                label=gettext(metric.label),
                better=better,
                change=_change(metric),
                loss_name=metric.loss_name,
            )
    listed = ", ".join(metric.name for metric in metrics)
    return gettext(
        "unknown key, and no metric of the task {task}, which has {listed}: {hint}",
        task=task,
        listed=listed,
        hint=nearest(name, set(allowed)),
    )


def _change(metric: Metric) -> str:
    """The direction of a loss, for people."""
    return gettext("drop") if metric.higher_is_better else gettext("rise")


def _metrics_by_task() -> Iterator[tuple[Metric, ...]]:
    for name in names("task"):
        with suppress(CompressError):  # tasks of broken packages are left out
            yield tuple(metric.info for metric in lookup("task", name).load().metrics)
