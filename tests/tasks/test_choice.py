"""Options of tasks in recipes: read with their lines, written back, in the schema, and refused where they are wrong."""

from typing import ClassVar

import pytest
import yaml
from pydantic import Field

from compress.config.recipe import digest, loads, resolved_yaml, schema
from compress.core.errors import CompressError, RecipeError
from compress.core.frozen_model import FrozenModel
from compress.core.registry import Entry, lookup, temporary
from compress.tasks.choice import TaskChoice, option_names
from compress.tasks.regression import Regression, RegressionOptions

RECIPE = """\
name: mine
task: {task}
data: {{source: digits}}
model: {{source: 'torchvision:resnet18'}}
stages: [export]
"""


class Sigma(FrozenModel):
    """Options of a task of another package.

    Attributes:
        sigma: Width.
    """

    sigma: float = Field(default=0.1, gt=0.0)


class Blurred(Regression):
    """A task of another package."""

    name = "blurred"
    settings: ClassVar = Sigma

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        if sigma > 10:
            msg = f"sigma is at most 10, got {sigma}"
            raise CompressError(msg)
        self.sigma = sigma


class Forgetful(Blurred):
    """A task that loses its option."""

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__(sigma)
        del self.sigma


class Other(Blurred):
    """A task whose constructor has another argument than its settings."""

    def __init__(self, width: float = 0.1) -> None:
        super().__init__(width)


def row(kind):
    return Entry("task", kind.__name__.lower(), f"{__name__}:{kind.__name__}", "for this test")


def recipe(task):
    return loads(RECIPE.format(task=task))


def faults(task):
    with pytest.raises(RecipeError) as caught:
        recipe(task)
    return [(issue.line, issue.path, issue.message) for issue in caught.value.issues]


def test_a_recipe_gives_a_task_its_options():
    task = recipe("{regression: {period: 360, error: huber}}").task.make()
    assert isinstance(task, Regression)
    assert (task.period, task.error) == (360.0, "huber")
    assert task.metrics[0].period == 360.0
    assert task.key == {"regression": {"error": "huber", "period": 360.0}}


def test_a_plain_name_stays_a_plain_name():
    plain, empty = recipe("regression"), recipe("{regression: {}}")
    assert plain.task.make().options == {}
    assert plain == empty
    assert yaml.safe_load(resolved_yaml(plain))["task"] == "regression"


def test_the_resolved_recipe_loads_to_an_equal_one():
    chosen = recipe("{regression: {period: 360}}")
    text = resolved_yaml(chosen)
    assert yaml.safe_load(text)["task"] == {"regression": {"error": "squared", "period": 360.0}}
    assert loads(text) == chosen
    assert digest(chosen) != digest(recipe("regression"))


def test_a_change_on_the_command_line_reaches_an_option():
    for task in ("regression", "{regression: {error: huber}}"):
        chosen = loads(RECIPE.format(task=task), overrides=["task.regression.period=24"])
        assert chosen.task.make().period == 24


@pytest.mark.parametrize(
    ("task", "path", "message"),
    [
        ("{regression: {perod: 360}}", "task.regression.perod", "did you mean 'period'"),
        ("{regression: {period: 0}}", "task.regression.period", "must be above 0, got 0"),
        ("{regression: {period: round}}", "task.regression.period", "expected a number"),
        ("{regression: {period: true}}", "task.regression.period", "expected a number, got true"),
        ("{regression: {error: cubic}}", "task.regression.error", "allowed: absolute, huber, squared"),
        ("{classification: {classes: 3}}", "task.classification.classes", "unknown key: allowed: nothing"),
        ("regresion", "task", "did you mean 'regression'"),
        ("{regresion: {period: 1}}", "task", "did you mean 'regression'"),
        ("[regression]", "task", "a task is written `name` or `name: {options}`"),
        ("{regression: {}, outputs: {}}", "task", "with one name"),
    ],
)
def test_a_fault_has_its_line_and_says_what_is_allowed(task, path, message):
    ((line, where, text),) = faults(task)
    assert line == 2
    assert where == path
    assert message in text


def test_other_faults_are_reported_beside_one_in_the_options():
    with pytest.raises(RecipeError) as caught:
        loads(RECIPE.format(task="{regression: {period: 0}}") + "budget: {accuracy_drop: 0.1}\n")
    assert {issue.path for issue in caught.value.issues} == {"task.regression.period", "budget.accuracy_drop"}


def test_the_schema_has_the_options_with_their_descriptions():
    definitions = schema()["$defs"]
    assert set(definitions["RegressionOptions"]["properties"]) == {"error", "period"}
    assert definitions["RegressionOptions"]["properties"]["period"]["description"].startswith("Of values that repeat")
    assert {"classification", "regression"} <= set(definitions["AnyTask"]["properties"])


def test_names_of_options_are_listed():
    assert option_names(lookup("task", "regression")) == ("error", "period")
    assert option_names(lookup("task", "classification")) == option_names(lookup("loss", "response")) == ()
    assert option_names(Entry("task", "broken", "nowhere:Nothing", "package broken 1")) == ()


def test_an_inspection_has_its_rate_of_false_alarms_and_the_class_of_good_parts():
    task = recipe("{inspection: {good: whole, fpr: 0.01}}").task.make()
    assert (task.good, task.fpr) == ("whole", 0.01)
    assert task.metric_info.label == "recall at 1 % false alarms"
    assert faults("{anomaly: {fpr: 1}}") == [(2, "task.anomaly.fpr", "must be below 1, got 1")]


def test_a_task_of_another_package_has_options_too():
    with temporary(row(Blurred)):
        chosen = recipe("{blurred: {sigma: 2}}")
        assert chosen.task.make().sigma == 2
        assert chosen.task.source == {"blurred": {"sigma": 2.0}}
        assert faults("{blurred: {sigma: 0}}")[0][1] == "task.blurred.sigma"
        assert faults("{blurred: {sigma: 11}}") == [(2, "task", "sigma is at most 10, got 11.0")]


def test_a_class_that_does_not_keep_its_settings_is_refused():
    with temporary(row(Forgetful), row(Other)):
        assert "keeps no attribute sigma" in faults("{forgetful: {sigma: 2}}")[0][2]
        assert "does not take its own settings sigma" in faults("{other: {sigma: 2}}")[0][2]


def test_a_class_that_is_no_task_is_refused():
    with temporary(Entry("task", "sigma", f"{__name__}:Sigma", "for this test")):
        assert "is not a subclass of Task" in faults("sigma")[0][2]


def test_a_choice_is_read_from_what_a_recipe_writes():
    choice = TaskChoice.read({"regression": {"period": 360}})
    assert choice == TaskChoice(name="regression", options=RegressionOptions(period=360))
    with pytest.raises(CompressError, match="cannot be used"):
        TaskChoice.read({"regression": {"period": -1}})
