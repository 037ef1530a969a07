"""Metrics and losses that show nothing: against a reference that has learned nothing, or on samples that are no test."""

from __future__ import annotations

from collections.abc import Iterable

from compress.core.fact import Fact
from compress.core.format_quantity import format_value
from compress.core.language import gettext
from compress.core.record import Metric, Metrics, Quantity
from compress.core.sentences.names import network_words

ANSWERS_NOT_TRAINED = "pipeline.answers_not_trained"
"""A network whose answers mean nothing because its stage did not train them."""
USELESS = (
    "pipeline.one_class_for_all",
    "pipeline.at_chance",
    "pipeline.constant_outputs",
    "pipeline.input_not_used",
    ANSWERS_NOT_TRAINED,
)
"""Warnings on a network that has learned nothing, or lost it."""

NO_TEST = {
    "data.random_inputs": "the inputs are random noise, on which no metric shows anything; use real inputs",
    "data.few_samples_in_all_splits": (
        "the test samples are also those of training and calibration, and too few to divide; use more samples"
    ),
}
"""Warnings on data whose test split shows nothing, with the reason."""


def losses_to_useless(metrics: Iterable[Metric], warnings: Iterable[Fact], reference: str, unit: str) -> Metrics:
    """The losses of all metrics as not measured, where the reference has learned nothing; else empty.

    A network that has learned nothing is as bad by every metric, so that a loss against it is no loss of quality.

    Args:
        metrics: The metrics of the task.
        warnings: On the stage that made the reference.
        reference: Name of the reference.
        unit: Of the deciding metric, for the values of a warning.
    """
    useless = next((warning for warning in warnings if warning.code in USELESS), None)
    if useless is None:
        return {}
    reason = gettext(
        "the reference ({reference}) has learned nothing: {what}; train it, or load its weights",
        reference=network_words(reference),
        what=_what(useless, unit),
    )
    return {metric.loss_name: Quantity.missing(metric.unit, reason) for metric in metrics}


def metrics_without_test(metrics: Iterable[Metric], warnings: Iterable[Fact]) -> Metrics:
    """Metrics and losses as not measured, where the test split is noise or the training samples; else empty.

    Args:
        metrics: The metrics of the task.
        warnings: On the data of the run.
    """
    reason = no_test(warnings)
    return not_measured(metrics, reason) if reason else {}


def not_measured(metrics: Iterable[Metric], reason: str) -> Metrics:
    """Metrics and their losses as not measured, for one reason."""
    return {name: Quantity.missing(metric.unit, reason) for metric in metrics for name in (metric.name, metric.loss_name)}


def without_intervals(values: Metrics, metrics: Iterable[Metric], warnings: Iterable[Fact]) -> Metrics:
    """Metrics and losses without their intervals, where the test split has copies or differs from pass to pass; else empty.

    The intervals count each copy as a sample of its own, and pair the answers of two networks by sample, so that they show no
    limit.

    Args:
        values: Metrics of the artifact and their losses, by name.
        metrics: The metrics of the task.
        warnings: On the data of the run.
    """
    faults = {(warning.code, warning.values.get("split")) for warning in warnings}
    if not faults & {(code, "test") for code in ("data.repeated_samples", "data.samples_differ")}:
        return {}
    names = {name for metric in metrics for name in (metric.name, metric.loss_name)}
    return {
        name: value.model_copy(update={"low": None, "high": None})
        for name, value in values.items()
        if name in names and value.value is not None
    }


def no_test(warnings: Iterable[Fact]) -> str:
    """Why the test split of a run shows nothing; empty where it does."""
    return next((gettext(NO_TEST[warning.code]) for warning in warnings if warning.code in NO_TEST), "")


def _what(warning: Fact, unit: str) -> str:
    if warning.code == "pipeline.one_class_for_all":
        return gettext("it predicts the class {name!r} for all test samples", name=warning.subject)
    if warning.code == "pipeline.constant_outputs":
        return gettext("it gives the same outputs for all test samples")
    levels = [warning.values.get(name) for name in ("value", "chance")]
    numbers = [format_value(level, unit) for level in levels if isinstance(level, int | float)]
    if len(numbers) == 2:
        values = {"value": numbers[0], "chance": numbers[1]}
        return gettext("it is not significantly better than chance: {value} against {chance}", **values)
    return gettext("it is not significantly better than chance")
