import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from compress.core.errors import CompressError, DataError
from compress.core.network_spec import NetworkSpec
from compress.core.registry import lookup
from compress.core.signature import BATCH, Signature, TensorSpec
from compress.distill.losses.squared_error import squared_error
from compress.tasks.regression import Regression


def drawn(n=50, v=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = 10 * torch.randn(n, v, generator=generator)
    return targets + torch.randn(n, v, generator=generator), targets


def values(task, predicted, targets):
    scores = [metric.scores({"values": predicted}, {"target": targets}).numpy() for metric in task.metrics]
    return [metric.value(each) for metric, each in zip(task.metrics, scores, strict=True)]


def loss(task, predicted, targets):
    return float(task.loss({"values": predicted}, {"target": targets}))


def test_it_stands_in_the_registry_and_lower_is_better():
    task = lookup("task", "regression").load()()
    assert isinstance(task, Regression)
    assert not task.metric_info.higher_is_better
    assert task.metric_info.loss_name == "rmse_rise"


def test_metrics_equal_scikit_learn():
    predicted, targets = drawn()
    rmse, mae, r2 = values(Regression(), predicted, targets)
    assert rmse == pytest.approx(root_mean_squared_error(targets.flatten(), predicted.flatten()), rel=1e-5)
    assert mae == pytest.approx(mean_absolute_error(targets, predicted), rel=1e-5)
    assert r2 == pytest.approx(r2_score(targets, predicted), rel=1e-5)


def test_losses_equal_the_formulas():
    predicted, targets = drawn()
    error = (predicted - targets).double().numpy()
    huber = np.where(abs(error) < 1, error**2 / 2, abs(error) - 0.5)
    for kind, expected in (("squared", error**2), ("absolute", abs(error)), ("huber", huber)):
        assert loss(Regression(kind), predicted, targets) == pytest.approx(expected.mean(), rel=1e-5)


def test_errors_of_angles_go_the_short_way_round():
    task = Regression("absolute", period=360)
    predicted, targets = torch.tensor([[359.0], [2.0], [180.0]]), torch.tensor([[1.0], [-359.0], [0.0]])
    assert loss(task, predicted, targets) == pytest.approx((2 + 1 + 180) / 3)
    assert values(task, predicted, targets)[1] == pytest.approx((2 + 1 + 180) / 3)
    gradient = predicted.clone().requires_grad_()
    task.loss({"values": gradient}, {"target": targets}).backward()
    assert gradient.grad[:2].flatten().tolist() == pytest.approx([-1 / 3, 1 / 3])


def test_rows_of_angles_are_as_close_as_the_angles():
    task = Regression(period=360)
    student, teacher = (task.distillable({"values": torch.tensor([[v]])}, {}).logits for v in (359.9, 0.1))
    near = float(2 * squared_error(student, teacher))
    assert math.sqrt(near) == pytest.approx(0.2, rel=1e-3)


def test_options_identify_the_task():
    keys = [Regression().key, Regression("huber").key, Regression(period=360).key]
    assert keys == ["regression", {"regression": {"error": "huber"}}, {"regression": {"period": 360}}]
    for options in ({"error": "cubic"}, {"period": 0}):
        with pytest.raises(CompressError, match="use one of squared, absolute, huber, and a period above 0"):
            Regression(**options)


def test_values_must_have_names():
    image = TensorSpec(name="input", shape=(BATCH, 1, 8, 8))
    with pytest.raises(DataError, match="names of its values"):
        Regression().complete_spec(NetworkSpec(signature=Signature(inputs=(image,))))


@pytest.mark.parametrize("v", [1, 3])
def test_chance_is_the_error_of_the_mean_for_all_samples(v):
    _, targets = drawn(v=v)
    task = Regression()
    constant = targets.mean(0, keepdim=True).expand_as(targets)
    statistics = {metric.info.name: metric.scores({"values": targets}, {"target": targets}).numpy() for metric in task.metrics}
    assert task.chance_level((), statistics) == pytest.approx(values(task, constant, targets)[0], rel=1e-5)
    assert task.chance_level((), {}) is None


def test_chance_of_angles_is_the_error_of_any_answer_to_evenly_spread_ones():
    task = Regression(period=360.0)
    targets = torch.linspace(0, 360, 3601)[:-1, None]
    assert task.chance_level((), {}) == pytest.approx(values(task, torch.full_like(targets, 77.0), targets)[0], rel=1e-3)


@pytest.mark.parametrize("centre", [180.0, 3.0])
def test_chance_of_similar_angles_is_the_error_of_one_answer_for_all(centre):
    task = Regression(period=360.0)
    targets = (centre + 15 * torch.randn(400, 2, generator=torch.Generator().manual_seed(0))) % 360
    statistics = {metric.info.name: metric.scores({"values": targets}, {"target": targets}).numpy() for metric in task.metrics}
    chance = task.chance_level((), statistics)
    errors = [values(task, torch.full_like(targets, centre + shift), targets)[0] for shift in (0.0, 2.0, 180.0)]
    assert chance == pytest.approx(errors[0], rel=0.01)
    assert chance < errors[1] < 100 < errors[2]


@pytest.mark.parametrize("period", [None, 360.0])
def test_equal_targets_are_met_by_one_answer_without_error(period):
    task, targets = Regression(period=period), torch.full((20, 1), 5.0)
    assert not np.isfinite(values(task, targets, targets)[2])
    rmse = task.deciding.scores({"values": targets}, {"target": targets}).numpy()
    assert task.chance_level((), {task.metric: rmse}) == 0.0


def test_unknown_values_have_no_loss():
    outputs = {"values": torch.tensor([[1.0], [5.0]])}
    loss = Regression().loss(outputs, {"target": torch.tensor([[3.0], [float("nan")]])})
    assert float(loss) == 4.0
    assert float(Regression().loss(outputs, {"target": torch.full((2, 1), float("nan"))})) == 0.0
