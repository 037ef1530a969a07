"""Axes of metrics."""

from compress.core.record import Quantity
from compress.pipeline.report.figures.metric_axis import interval_ends, metric_axis
from compress.tasks.audio.transcript_metrics import WER
from compress.tasks.classification import ACCURACY
from tests.pipeline.report.pages import PERPLEXITY


def test_better_values_are_up_and_a_fraction_ends_at_100_percent() -> None:
    accuracy, perplexity = metric_axis(ACCURACY, (90.0, 100.0), "test"), metric_axis(PERPLEXITY, (12.0, 20.0), "")
    assert accuracy.position(100.0) > accuracy.position(90.0)
    assert perplexity.position(12.0) > perplexity.position(20.0)
    assert accuracy.high < 101
    assert (accuracy.label, perplexity.label) == ("test accuracy (%)", "perplexity")


def test_ends_of_an_interval_are_in_display_units() -> None:
    assert interval_ends(Quantity.measured(0.5, "fraction", interval=(0.25, 0.75)), 100) == (50, 25, 75)
    assert interval_ends(Quantity.missing("fraction", "no labels"), 100) == ()


def test_an_error_rate_above_100_percent_is_on_the_axis() -> None:
    axis = metric_axis(WER, (135.0, 180.0), "")
    assert axis.low < 135.0 < 180.0 < axis.high
    assert len(axis.ticks) > 1
