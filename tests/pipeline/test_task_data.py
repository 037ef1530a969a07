"""Data, task and stages that do not fit together are refused before anything runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Data, Distill, Quantize
from compress.core.errors import DataError, RecipeError
from compress.core.network_spec import image_spec
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import TARGET
from compress.data.factory import load_data
from compress.data.named_split import NamedSplit, read_rows
from compress.data.settings import DataSettings
from compress.data.sources.npz import ArraySplit
from compress.pipeline.plan import from_objects
from compress.pipeline.task_data import check_targets, data_for_task
from compress.tasks.anomaly import Anomaly
from compress.tasks.classification import Classification
from compress.tasks.inspection import Inspection


@pytest.fixture(scope="module")
def data() -> Data:
    samples = TensorDataset(torch.zeros(8, 3, 8, 8), torch.tensor([0, 1] * 4))
    return Data.from_loaders(*(DataLoader(samples, batch_size=4) for _ in range(3)), classes=["a", "b"])


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))


def test_data_of_another_task_are_refused(data):
    with pytest.raises(DataError, match="task segmentation is for networks that give"):
        from_objects("mine", network(), data, [Quantize()], task="segmentation")


def test_methods_that_the_task_does_not_allow_are_refused(data):
    class Values(Classification):
        name = "values"
        capabilities = frozenset()

    stage = Distill(teacher="parent", losses=({"decoupled": {}},))
    with pytest.raises(RecipeError, match="loss 'decoupled' needs logits of classes"):
        from_objects("mine", network(), data, [stage], task=Values())


def test_targets_of_another_task_are_refused(data):
    class SeveralClasses(Classification):
        name = "several"

        def targets(self, classes):
            return (TensorSpec(name=TARGET, shape=(BATCH, len(classes))),)

    check_targets(Classification(), data)
    with pytest.raises(DataError, match="task several needs targets target: float32 batch×2; the data give target: int64"):
        check_targets(SeveralClasses(), data)


def test_anomaly_detection_trains_on_good_parts_alone():
    parts = load_data(DataSettings(source="drawn_parts", image_size=16, samples=72), base=Path())
    task = Anomaly("stain")
    fitted = data_for_task(parts, task)
    assert set(fitted.train.labels) == {2}
    assert (fitted.validation, fitted.test) == (parts.validation, parts.test)
    with pytest.raises(DataError, match="training split has none"):
        data_for_task(replace(parts, train=parts.train.of_class(0)), task)


@pytest.mark.parametrize("task", [Inspection("stain"), Classification()])
def test_a_classifier_is_not_trained_on_one_class(task):
    parts = load_data(DataSettings(source="drawn_parts", image_size=16, samples=72), base=Path())
    assert data_for_task(parts, task).train is parts.train
    with pytest.raises(DataError, match=f"class 'stain' of .*task {task.name} .*task anomaly"):
        data_for_task(replace(parts, train=parts.train.of_class(2)), task)


def test_samples_of_a_loader_cannot_be_selected(data):
    fitted = data_for_task(
        replace(data, spec=image_spec(channels=3, height=8, width=8, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b"))),
        Anomaly(),
    )
    assert fitted.train is data.train


@pytest.mark.parametrize("split", ["validation", "test"])
def test_samples_without_a_label_are_for_training_alone(split, data):
    labels = torch.tensor([0, 1, -1, 1, -100, 0])
    samples = ArraySplit({"input": torch.zeros(6, 3, 8, 8)}, labels)
    assert data_for_task(replace(data, train=samples), Classification()).train is samples
    for other in (samples, NamedSplit(torch.arange(6), read_rows(samples.inputs, {TARGET: labels}), "")):
        with pytest.raises(DataError, match=f"2 of 6 {split} samples have no label"):
            data_for_task(replace(data, **{split: other}), Classification())
