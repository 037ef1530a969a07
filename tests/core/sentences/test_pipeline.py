"""Sentences of the pipeline: the unit of a difference, and limits read back from a record."""

from __future__ import annotations

import json

import pytest

from compress.core.fact import Fact
from compress.core.sentences import render

GAIN = {"difference": -0.4, "samples": 539, "low": -1.3, "high": 0.5}


@pytest.mark.parametrize(("unit", "shown"), [("points", "−0.40 points on"), ("px", "−0.4 px on"), ("1", "−0.4 on")])
def test_a_difference_has_its_unit_and_a_plain_number_none(unit: str, shown: str) -> None:
    text = render(Fact.of("pipeline.no_gain_over_control", "top-1 accuracy", unit=unit, **GAIN))  # type: ignore[arg-type]
    assert shown in text
    assert "gain of top-1 accuracy over the control" in text
    assert "539 test samples (95 % interval −1.3" in text


def test_a_difference_of_an_older_record_is_in_points() -> None:
    assert "−0.40 points on" in render(Fact.of("pipeline.no_gain_over_control", "accuracy", **GAIN))  # type: ignore[arg-type]


def test_limits_are_the_same_when_read_back_from_json() -> None:
    fact = Fact.of("pipeline.no_metric_limit", "accuracy", names=("accuracy", "accuracy_drop"))
    text = render(fact)
    assert text.endswith("not include it; set accuracy or accuracy_drop")
    assert render(Fact.model_validate(json.loads(fact.model_dump_json()))) == text


def test_a_network_at_chance_shows_both_figures() -> None:
    fact = Fact.of("pipeline.at_chance", "accuracy", value=0.1234567, samples=200, chance=0.1)
    assert "its accuracy is 0.123 on 200 test samples, at chance 0.1" in render(fact)


def test_a_network_at_chance_has_figures_in_the_unit_of_the_metric() -> None:
    fact = Fact.of("pipeline.at_chance", "span F1", value=0.0, samples=540, chance=0.07124, unit="fraction")
    assert "its span F1 is 0.00 % on 540 test samples, at chance 7.12 %" in render(fact)
    values = {"value": 0.3, "chance": 0.31, "low": -0.05, "high": 0.02, "samples": 90, "unit": "fraction"}
    text = render(Fact.of("pipeline.input_not_used", "mean IoU", **values))  # type: ignore[arg-type]
    assert "is 30.00 % against 31.00 %" in text
    assert "interval of the gain −5.00 to 2.00 points" in text


def test_a_network_of_constant_outputs_is_named_with_its_metric() -> None:
    text = render(Fact.of("pipeline.constant_outputs", "mean IoU", samples=40))
    assert "all 40 test samples the same outputs" in text
    assert "mean IoU" in text
