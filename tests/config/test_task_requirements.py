"""A method that needs what a task has not is refused, wherever it stands, and the message says which need is not met."""

from typing import ClassVar

import pytest

from compress import Distill, Prune, Quantize
from compress.config.recipe import loads
from compress.config.task_requirements import check_task, with_task_losses
from compress.core.errors import RecipeError
from compress.core.network_spec import NetworkSpec
from compress.core.registry import ENTRIES, Entry, temporary
from compress.core.registry_field import name_of
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.dataset_distillation.stage import DatasetDistillation
from compress.tasks.classification import Classification


class Values(Classification):
    """A task whose answers are no classes."""

    name = "values"
    capabilities: ClassVar = frozenset(("continuous_input", "row_per_sample"))


VALUES = Entry("task", "values", f"{__name__}:Values", "for this test")
RECIPE = "name: mine\ntask: values\ndata: {source: digits}\nmodel: {source: 'torchvision:resnet18'}\n"


def findings(task, **stage):
    return dict(check_task(task, [(("stage",), Distill(**stage))]))


def places(stage, task=None):
    return {path for path, _ in check_task(task or Values(), [((), stage)])}


def test_everything_is_allowed_for_a_task_that_has_all():
    stage = Distill(losses=({"jacobian": {}},), teacher={"ensemble": {}}, label_smoothing=0.1)
    assert places(stage, Classification()) == places(DatasetDistillation(), Classification()) == set()


def test_a_loss_is_refused_with_its_need_and_what_fits_instead():
    ((path, message),) = findings(Values(), losses=({"decoupled": {}}, {"task": {}})).items()
    assert path == ("stage", "losses", 0)
    assert message.startswith("loss 'decoupled' needs logits of classes, for which a softmax is defined")
    assert "which the task values does not have" in message
    fitting = message.partition("fitting: ")[2].split(", ")
    assert {"squared_error", "hint", "task"} <= set(fitting)
    assert not {"decoupled", "response", "jacobian", "contrastive"} & set(fitting)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"curriculum": {"cutmix": 1.0}}, ("curriculum", "cutmix")),
        ({"curriculum": {"mine": "student_loss"}}, ("curriculum", "mine")),
        ({"teacher": {"teacher": {"combine": "confidence"}}}, ("teacher", "combine")),
        ({"teacher": {"ensemble": {}}}, ("teacher",)),
        ({"cache": {"k": 5}}, ("cache", "k")),
        ({"label_smoothing": 0.1}, ("label_smoothing",)),
    ],
)
def test_choices_in_blocks_are_refused_where_they_stand(settings, path):
    losses = () if "mixes" in settings else ({"squared_error": {}},)
    assert places(Distill(losses=losses, **settings)) == {path}


def test_a_stage_and_a_function_in_the_registry_are_refused():
    assert () in places(DatasetDistillation())
    assert places(Quantize(ptq={"weights": {"rounding": "brecq"}})) == {("ptq", "weights", "rounding")}


def test_what_has_no_effect_is_allowed():
    assert places(Distill(losses=({"decoupled": {"weight": 0.0}}, {"task": {}}))) == set()
    recover = {"teacher": "none", "losses": ({"decoupled": {}},)}
    assert places(Prune(target={"macs": 0.5}, recover=recover)) == set()


def test_default_losses_are_those_of_the_task():
    stage = with_task_losses(Prune(target={"macs": 0.5}), Values())
    assert [name_of("loss", term) for term in stage.recover.losses] == ["squared_error", "task"]
    assert places(stage) == set()
    same = Prune(target={"macs": 0.5})
    assert with_task_losses(same, Classification()) is same
    own = Distill(losses=({"response": {}},))
    assert with_task_losses(own, Values()) is own


def test_inputs_count_once_they_are_known():
    tokens = TensorSpec(name="tokens", dtype="int64", shape=(BATCH, 9))
    spec = NetworkSpec(signature=Signature(inputs=(tokens,)), classes=("a", "b"))
    blocks = [((), Distill(losses=({"jacobian": {}},)))]
    assert not list(check_task(Classification(), blocks))
    ((_, message),) = check_task(Classification(), blocks, spec)
    assert "one input of real numbers" in message
    assert "tokens: int64" in message


def test_a_recipe_is_refused_with_all_such_faults():
    text = RECIPE + "stages: [dataset_distillation, {distill: {teacher: parent, losses: [decoupled, task]}}]\n"
    with temporary(VALUES), pytest.raises(RecipeError) as caught:
        loads(text)
    text = str(caught.value)
    assert "stage 'dataset_distillation' needs one image" in text
    assert "loss 'decoupled' needs" in text


def test_a_recipe_with_default_losses_runs_those_of_the_task():
    with temporary(VALUES):
        recipe = loads(RECIPE + "stages: [{distill: {teacher: parent}}]\n")
    assert [name_of("loss", term) for term in recipe.stages[0].losses] == ["squared_error", "task"]


def test_rows_declare_known_capabilities():
    for row in ENTRIES:
        assert set(row.options.get("requires", ())) <= Classification.capabilities
