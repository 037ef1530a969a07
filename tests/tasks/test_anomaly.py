import pytest
import torch

from compress.core.errors import DataError
from compress.core.network_spec import image_spec
from compress.core.registry import lookup
from compress.core.signature import TensorSpec
from compress.tasks.anomaly import Anomaly


def spec(classes=("good", "defect"), outputs=None):
    return image_spec(channels=1, height=8, width=8, mean=(0.5,), std=(0.2,), classes=classes, outputs=outputs)


def outputs(count=6, size=4):
    heat = torch.rand(count, size, size, generator=torch.Generator().manual_seed(0))
    return {"score": heat.flatten(1).amax(1), "map": heat}


TARGETS = {"target": torch.tensor([0, 1, 0, 1, 1, 0])}


def test_it_stands_in_the_registry_and_auroc_decides():
    task = lookup("task", "anomaly").load()()
    assert isinstance(task, Anomaly)
    assert [metric.info.name for metric in task.metrics] == ["auroc", "recall_at_fpr", "false_alarm_rate"]
    assert [metric.info for metric in type(task).metrics] == [metric.info for metric in task.metrics]
    assert task.metric_info.loss_name == "auroc_drop"


def test_sources_of_labelled_images_serve_it():
    completed = Anomaly().complete_spec(spec())
    assert completed.output_names == ("score", "map")
    with pytest.raises(DataError, match="task anomaly is for networks that give score"):
        Anomaly().complete_spec(spec(outputs=(TensorSpec(name="boxes", shape=("batch", 4)),)))


def test_the_loss_is_the_mean_map_of_the_good_parts_alone():
    answers = outputs()
    expected = answers["map"][[0, 2, 5]].double().mean()
    assert float(Anomaly().loss(answers, TARGETS)) == pytest.approx(float(expected), rel=1e-6)
    without = {"target": torch.ones(6, dtype=torch.long)}
    assert float(Anomaly().loss(answers, without)) == 0.0


def test_defective_parts_have_no_gradient():
    heat = outputs()["map"].requires_grad_()
    answers = {"score": heat.flatten(1).amax(1), "map": heat}
    rows = Anomaly().distillable(answers, TARGETS)
    (Anomaly().loss(answers, TARGETS) + rows.logits.square().sum()).backward()
    assert heat.grad[[1, 3, 4]].abs().max() == 0
    assert heat.grad[[0, 2, 5]].abs().min() > 0
    assert rows.logits.shape == (6, 16)


def test_agreement_is_of_the_maps():
    answers = outputs()
    moved = {"score": answers["score"], "map": answers["map"].flip(2)}
    same = Anomaly().agreement(answers, answers)
    assert (same.max_abs, same.top1) == (0.0, None)
    other = Anomaly().agreement(answers, moved)
    assert other.max_abs == pytest.approx(float((answers["map"] - moved["map"]).abs().max()))


def test_a_split_of_good_parts_alone_has_a_threshold_and_no_area():
    task = Anomaly()
    rows = task.deciding.scores(outputs(), {"target": torch.zeros(6, dtype=torch.long)}).numpy()
    assert task.deciding.value(rows) != task.deciding.value(rows)
    assert task.deciding.choose_threshold(rows) == pytest.approx(float(outputs()["score"].max()))
