import pytest
from pydantic import ValidationError

from compress.core.registry import entries
from compress.prune.schedule_settings import Schedule
from compress.prune.stage import Prune
from tests.prune.conftest import CHANNEL, QUICK, WEIGHT


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {**WEIGHT, "importance": "bn_scale"},
            "importance 'bn_scale' does not score weights, as granularity 'weight' needs; use magnitude",
        ),
        ({**CHANNEL, "importance": "synflow"}, "importance 'synflow' does not score channels"),
        ({**CHANNEL, "schedule": {"kind": "rigl"}}, "granularity 'channel' has none; use 'weight'"),
        ({**CHANNEL, "schedule": {"kind": "lottery"}}, "use 'weight' or 'block'"),
        ({**WEIGHT, "schedule": {"kind": "cubic", "drop": 0.1}}, "'cubic' has no drop, which belongs to 'accuracy_aware'"),
        (
            {**WEIGHT, "schedule": {"kind": "accuracy_aware", "update_every": 3}},
            "'accuracy_aware' has no update_every, which belongs to 'set' or 'rigl'",
        ),
        ({**WEIGHT, "schedule": {"kind": "rigl", "drop_fraction": 1.0}}, "less than 1"),
        ({**WEIGHT, "schedule": {"kind": "rigl"}, "recover": {**QUICK, "ema": 0.9}}, "leave it out with 'rigl'"),
        ({**WEIGHT, "schedule": {"kind": "set"}, "recover": {**QUICK, "epochs": 0}}, "set recover.epochs to 1 or more"),
        ({**WEIGHT, "sparse_training": {"kind": "slimming"}}, "use l1 or greg1"),
        ({**WEIGHT, "sparse_training": {"kind": "l1"}, "schedule": {"kind": "lottery"}}, "leave one of them out"),
        ({**CHANNEL, "sparse_training": {"kind": "slimming", "strength": 0}}, "greater than 0"),
        ({**CHANNEL, "sparse_training": {"kind": "slim"}}, "'slimming', 'l1', 'group_lasso', 'greg1' or 'greg2'"),
        ({**WEIGHT, "cost_aware": "latency"}, "leave it out or use 'channel'"),
        (
            {**CHANNEL, "importance": "magnitude", "cost_aware": "latency"},
            "importance is 'magnitude'; use taylor, hessian, fisher",
        ),
        ({**CHANNEL, "importance": "magic"}, "Input should be 'magnitude'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_does(fields, told):
    with pytest.raises(ValidationError, match=told):
        Prune(**fields)


@pytest.mark.parametrize("kind", ["lottery", "set", "rigl", "accuracy_aware", "cubic"])
def test_smoke_is_one_step_of_the_same_kind(kind):
    small = Schedule(kind=kind, **({"rewind": 900} if kind == "lottery" else {})).smoke()
    assert (small.kind, small.count) == (kind, 1)
    assert (small.rewind, small.update_every) == ({"lottery": 1}.get(kind), {"set": 1, "rigl": 1}.get(kind))


def test_what_a_recipe_may_name_stands_in_the_method_table():
    rows = [row for family in ("importance", "schedule", "penalty") for row in entries(family)]
    assert rows
    assert all(callable(row.load()) for row in rows)
