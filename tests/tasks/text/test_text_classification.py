import pytest
import torch

from compress.core.registry import lookup
from compress.tasks.choice import TaskChoice
from compress.tasks.classification import Classification
from compress.tasks.multilabel import MultiLabel
from compress.tasks.regression import Regression
from compress.tasks.text.text_classification import TextClassification

KINDS = {"single": Classification(), "multilabel": MultiLabel(), "regression": Regression()}


def test_it_stands_in_the_registry_with_its_options():
    assert lookup("task", "text_classification").load() is TextClassification
    task = TaskChoice.read({"text_classification": {"kind": "regression"}}).make()
    assert task.key == {"text_classification": {"kind": "regression"}}
    assert TextClassification().key == "text_classification"


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_the_loss_and_the_outputs_of_its_task(kind):
    task, inner = TextClassification(kind), KINDS[kind]
    assert task.outputs((), ("a", "b")) == inner.outputs((), ("a", "b"))
    assert task.targets(("a", "b")) == inner.targets(("a", "b"))
    outputs = {inner.output_names[0]: torch.randn(5, 2)}
    target = torch.tensor([0, 1, 0, 1, 1]) if kind == "single" else torch.rand(5, 2).round()
    assert task.loss(outputs, {"target": target}) == inner.loss(outputs, {"target": target})
    assert "image_input" not in task.capabilities
    assert task.chance_level(("a", "b"), {}) == inner.chance_level(("a", "b"), {})


def test_the_deciding_metric_is_that_of_the_kind():
    assert [TextClassification(kind).metric for kind in KINDS] == ["accuracy", "macro_f1", "rmse"]
    assert [metric.info.name for metric in TextClassification().metrics] == ["accuracy", "macro_f1", "mcc", "calibration_error"]


def test_every_kind_has_a_script():
    assert {TextClassification(kind).infer_code for kind in KINDS} == set(TextClassification.infer_codes())
