"""Limits on the metrics of a task by name."""

import re

import jsonschema
import pytest
from pydantic import Field, ValidationError

from compress.core.budget import Budget
from compress.core.metric_limits import MetricLimits, allowed_loss
from compress.core.record import Metric
from compress.quantize.settings import AcceptanceSettings

PERPLEXITY = Metric(name="perplexity", label="perplexity", unit="1", higher_is_better=False)
WER = Metric(name="wer", label="word error rate", unit="fraction", higher_is_better=False)
MAP = Metric(name="map", label="mAP", unit="fraction", higher_is_better=True)
METRICS = (PERPLEXITY, WER, MAP)


class Limits(MetricLimits):
    size_mb: float | None = Field(default=None, gt=0.0)


def faults(**limits: float) -> dict[str, str]:
    return dict(Limits(**limits).faults("made_up", METRICS))


def test_limits_follow_the_direction_of_their_metric() -> None:
    limits = Limits(perplexity=20, map=0.4, wer_rise=0.005, map_drop=0.01).metric_limits(METRICS)
    by_name = {limit.name: limit for limit in limits}
    assert {name: limit.is_lower_bound for name, limit in by_name.items()} == {
        "perplexity": False, "map": True, "wer_rise": False, "map_drop": False,
    }  # fmt: skip
    assert {name: limit.unit for name, limit in by_name.items()} == {
        "perplexity": "1", "map": "fraction", "wer_rise": "points", "map_drop": "points",
    }  # fmt: skip
    assert by_name["wer_rise"].words == "word error rate rise"


@pytest.mark.parametrize(
    ("limit", "value", "reference", "exceeded"),
    [
        ({"perplexity": 20}, 20.1, None, True),
        ({"perplexity": 20}, 19.0, None, False),
        ({"map": 0.4}, 0.39, None, True),
        ({"map": 0.4}, 0.41, None, False),
        ({"perplexity_rise": 0.5}, 20.6, 20.0, True),
        ({"perplexity_rise": 0.5}, 18.0, 20.0, False),
        ({"map_drop": 0.01}, 0.48, 0.5, True),
        ({"map_drop": 0.01}, 0.6, 0.5, False),
        ({"map_drop": 0.01}, 0.1, None, False),
    ],
)
def test_a_value_breaks_a_limit_in_the_direction_of_a_loss(limit, value, reference, exceeded) -> None:
    (only,) = Limits(**limit).metric_limits(METRICS)
    assert only.exceeded_by(value, reference) is exceeded


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"accuracy": 0.9}, r"no metric of the task made_up, which has perplexity, wer, map: .*allowed: map, map_drop"),
        ({"perplexty_rise": 0.1}, "did you mean 'perplexity_rise'"),
        ({"size_mbb": 1}, "did you mean 'size_mb'"),
        ({"wer_drop": 0.1}, "word error rate is better when lower, so its loss is a rise; write wer_rise"),
        ({"map_rise": 0.1}, "mAP is better when higher, so its loss is a drop; write map_drop"),
        ({"map": 40}, "above 0 and at most 1; 0.9 is 90 %; got 40"),
        ({"wer_rise": 1}, "at least 0 and below 1; 0.01 is one percentage point; got 1"),
    ],
)
def test_what_the_task_cannot_have_is_refused(limits, sentence) -> None:
    ((name, text),) = faults(**limits).items()
    assert name in limits
    assert re.search(sentence, text)


def test_limits_that_the_task_has_are_fine_and_none_is_lost_on_the_way() -> None:
    limits = Limits(perplexity=20, perplexity_rise=3, wer_rise=0.005, map=0.4, size_mb=1)
    assert list(limits.faults("made_up", METRICS)) == []
    assert Limits.model_validate_json(limits.model_dump_json()) == limits
    assert limits.limits == {"perplexity": 20, "perplexity_rise": 3, "wer_rise": 0.005, "map": 0.4}
    assert limits.loss_limits == ("perplexity_rise", "wer_rise")


@pytest.mark.parametrize("limits", [{"perplexity_rise": -1}, {"perplexity": "low"}, {"map": float("nan")}, {"map": {"a": 1}}])
def test_a_limit_is_a_number_and_a_loss_is_not_negative(limits) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate(limits)


def test_a_limit_that_is_null_is_none() -> None:
    assert Limits.model_validate({"accuracy_drop": None, "size_mb": 1}) == Limits(size_mb=1)


def test_settings_of_the_deciding_loss_take_no_other_limit() -> None:
    assert list(AcceptanceSettings(perplexity_rise=0.5).faults("made_up", METRICS)) == []
    for name in ("perplexity", "wer_rise"):
        ((fault, text),) = AcceptanceSettings(**{name: 0.5}).faults("made_up", METRICS)
        assert fault == name
        assert "perplexity_rise" in text
    assert AcceptanceSettings(perplexity_rise=0.5).loss_limit(PERPLEXITY) == 0.5
    assert AcceptanceSettings().loss_limit(PERPLEXITY) is None


def test_an_allowed_loss_is_a_share_of_metrics_that_are_no_fractions() -> None:
    assert allowed_loss(0.02, MAP, NotImplemented) == 0.02
    assert allowed_loss(0.02, PERPLEXITY, lambda: 20.0) == pytest.approx(0.4)


def test_the_json_schema_lists_the_metrics_of_the_tasks_that_there_are() -> None:
    schema = Budget.model_json_schema()
    assert "Largest drop of the accuracy" in schema["properties"]["accuracy_drop"]["description"]
    jsonschema.validate({"accuracy_drop": 0.01, "calibration_error": 0.1, "size_mb": 1}, schema)
    for wrong in ({"accuracy_rise": 0.01}, {"speed": 3}, {"accuracy": "high"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
