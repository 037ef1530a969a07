import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from compress.backends.run_split import run_split, with_threshold_of
from compress.core.errors import DataError
from compress.data.interface import Data
from compress.tasks.classification import Classification
from compress.tasks.inspection import Inspection
from tests.export.tiny import split as some_samples


def test_a_module_and_its_file_give_the_same_scores(exported, network):
    samples, task = some_samples(40, 3), Classification()
    of_module, of_file = run_split(network, samples, task, batch_size=16), run_split(exported, samples, task, batch_size=7)
    assert of_module.scores.tolist() == of_file.scores.tolist()
    assert of_module.scores.shape == (40,)
    assert of_module.metric == pytest.approx(of_module.scores.mean())
    assert of_module.loss == pytest.approx(of_file.loss, rel=1e-4)


def test_the_loss_is_the_mean_over_samples_whatever_the_batches(network):
    samples, task = some_samples(40, 3), Classification()
    with torch.no_grad():
        whole = float(task.loss({"logits": network(samples.inputs)}, {"target": samples.targets}))
    assert run_split(network, samples, task, batch_size=7).loss == pytest.approx(whole, rel=1e-5)


def test_an_empty_split_is_refused(network):
    with pytest.raises(DataError, match="without samples"):
        run_split(network, some_samples(0, 3), Classification())


def test_samples_without_a_finite_output_are_counted():
    images = torch.rand(10, 3, 8, 8)
    images[[2, 7]] = 0.0
    loader = DataLoader(TensorDataset(images, torch.zeros(10).long()), batch_size=4)
    data = Data.from_loaders(loader, loader, loader, classes="ab").test
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))

    class Scaled(nn.Module):
        def forward(self, x):
            return net(x / x.flatten(1).amax(1).view(-1, 1, 1, 1))

    result = run_split(Scaled(), data, Classification())
    assert result.not_finite == 2
    assert result.scores[[2, 7]].tolist() == [0.0, 0.0]


def test_rare_answers_without_knowledge_are_chance_however_accurate():
    class Rare(nn.Module):
        def forward(self, x):
            second = x[:, 0].flatten(1)[:, :1]
            return torch.cat([1 - second, second], dim=1)

    images, labels = torch.zeros(100, 1, 4, 4), torch.zeros(100, dtype=torch.int64)
    labels[:5], images[50:55] = 1, 1.0
    results = [
        run_split(
            Rare(), Data.from_loaders(*[DataLoader(TensorDataset(x, labels), 50)] * 3, classes="ab").test, Classification()
        )
        for x in (images, images.roll(50, 0))
    ]
    assert [(result.metric, result.only_class) for result in results] == [(pytest.approx(0.9), None), (1.0, None)]
    assert [result.chance for result in results] == [pytest.approx(0.95**2 + 0.05**2), None]


@pytest.mark.parametrize(("bias", "labels", "only_class"), [(100.0, (0, 1), 1), (100.0, (1, 1), None), (0.0, (0, 1), None)])
def test_a_network_that_gives_one_class_to_all_samples_is_recognised(bias, labels, only_class):
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(40, 1, 4, 4), torch.tensor(labels * 20)), batch_size=8)
    data = Data.from_loaders(loader, loader, loader, classes="ab").test
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.constant_(net[1].bias[1:], bias)
    assert run_split(net, data, Classification(), batch_size=8).only_class == only_class


def test_a_threshold_of_another_split_is_used_by_every_metric_that_has_one(network):
    task = Inspection(fpr=0.1)
    validation, test = (run_split(network, some_samples(count, 3), task, every_metric=True) for count in (80, 120))
    held = with_threshold_of(validation, test, task)
    threshold = task.deciding.choose_threshold(validation.scores)
    score, kinds = test.scores[:, 0], test.scores[:, 1]
    assert held.metric == held.metrics["recall_at_fpr"] == pytest.approx((score > threshold)[kinds != 0].mean())
    assert held.metrics["false_alarm_rate"] == pytest.approx((score > threshold)[kinds == 0].mean())
    assert held.metrics["auroc"] == test.metrics["auroc"]
    assert held.metrics["accuracy"] == test.metrics["accuracy"]


def test_a_task_without_a_threshold_keeps_its_scores(network):
    result = run_split(network, some_samples(40, 3), Classification())
    assert with_threshold_of(result, result, Classification()) is result


@pytest.mark.parametrize(("scale", "samples", "constant"), [(0.0, 40, True), (1e-3, 40, False), (0.0, 1, False)])
def test_outputs_that_do_not_depend_on_the_input_are_recognised(scale, samples, constant):
    loader = DataLoader(TensorDataset(torch.randn(samples, 1, 4, 4), torch.arange(samples) % 2), batch_size=8)
    data = Data.from_loaders(loader, loader, loader, classes="ab").test
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.constant_(net[1].weight, scale)
    assert run_split(net, data, Classification(), batch_size=8).constant == constant
