import pytest
from pydantic import ValidationError

from compress.config.search_settings import SearchSettings, SearchSpace, objective_name, objective_parts


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "one of"),
        ({"low": 1}, "low below high"),
        ({"low": 2, "high": 1}, "low below high"),
        ({"low": 0, "high": 1, "log": True}, "low above 0"),
        ({"low": 1, "high": 8, "log": True, "step": 1}, "not both"),
        ({"low": 1, "high": 2, "choice": [1, 2]}, "one of"),
        ({"choice": [1]}, "at least 2"),
        ({"optional": True, "step": 1}, "for a range"),
        ({"low": 1, "high": 2, "step": 0}, "greater than 0"),
        ({"low": 1, "high": 2, "step": 5}, "one value"),
        ({"choice": [0.4, 0.4]}, "0.4 is given twice"),
        ({"choice": [{"quantize": {}}, {"quantize": {}}]}, "given twice"),
    ],
)
def test_a_space_is_one_kind_and_whole(values, message):
    with pytest.raises(ValidationError, match=message):
        SearchSpace(**values)


def test_ends_are_what_a_check_tries():
    assert SearchSpace(low=0.2, high=0.8).ends == (0.2, 0.8)
    assert SearchSpace(choice=("a", {"b": 1})).ends == ("a", {"b": 1})
    assert SearchSpace(optional=True).ends == (True, False)
    assert SearchSpace(low=1, high=8).is_whole
    assert not SearchSpace(low=1, high=8, step=0.5).is_whole


def test_an_objective_has_a_name_and_perhaps_a_device():
    settings = SearchSettings(space={"a.b": {"choice": [1, 2]}}, objectives=["accuracy", {"latency_ms": "host"}])
    assert [objective_parts(objective) for objective in settings.objectives] == [("accuracy", ""), ("latency_ms", "host")]
    assert [objective_name(objective) for objective in settings.objectives] == ["accuracy", "latency_ms.host"]
    assert settings.smoke().trials == 2
    with pytest.raises(ValidationError):
        SearchSettings(space={"a.b": {"choice": [1, 2]}}, objectives=[{"speed": "host"}])


def test_a_step_may_be_the_whole_range_and_equal_numbers_of_two_kinds_are_two_choices():
    assert SearchSpace(low=1, high=2, step=1).is_whole
    assert SearchSpace(choice=(True, 1)).choice == (True, 1)


def test_an_amount_of_training_is_given_once():
    with pytest.raises(ValidationError, match="1 is given twice"):
        SearchSettings(space={"a.b": {"choice": [1, 2]}}, objectives=["accuracy"], fidelity={"a.c": [1, 1]})
