"""Data, task and stages that do not fit together are refused before anything runs."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress import Data, Distill, Quantize
from compress.core.errors import DataError, RecipeError
from compress.core.signature import BATCH, TensorSpec
from compress.data.batch import TARGET
from compress.pipeline.plan import from_objects
from compress.pipeline.task_data import check_targets
from compress.tasks.classification import Classification


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
