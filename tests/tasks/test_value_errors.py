"""Errors of each value of a regression."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from compress.core.record import Quantity
from compress.core.sentences import render
from compress.core.warned_check import check_of
from compress.tasks.regression import R2, Regression
from compress.tasks.value_errors import constant_errors

NAMES = ("length", "width")


def drawn(errors, count=200, seed=0):
    """Values of the scales 100 and 0.01, and predictions whose errors are these fractions of the scale."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([100.0, 0.01])
    targets = scale * torch.randn(count, 2, generator=generator)
    return targets + scale * torch.tensor(errors) * torch.randn(count, 2, generator=generator), targets


def further(task, predicted, targets, names=NAMES):
    metric = next(metric for metric in task.metrics if metric.info == R2)
    return task.further_results(
        {R2.name: metric.scores({"values": predicted}, {"target": targets}).numpy()}, names, "test split"
    )


def quantity(row, name):
    return Quantity.model_validate(row[name])


def test_metrics_of_each_value_equal_scikit_learn():
    predicted, targets = drawn((0.3, 0.6))
    for row, name, y_hat, y in zip(
        further(Regression(), predicted, targets).tables["values"], NAMES, predicted.T, targets.T, strict=True
    ):
        assert row["value"] == name
        for metric, expected in (
            ("rmse", root_mean_squared_error(y, y_hat)),
            ("mae", mean_absolute_error(y, y_hat)),
            ("r2", r2_score(y, y_hat)),
        ):
            measured = quantity(row, metric)
            assert measured.value == pytest.approx(expected, rel=1e-5)
            assert measured.low < expected < measured.high
        assert row["rmse_of_constant"] == pytest.approx(float(y.std(correction=0)), rel=1e-5)


def test_a_value_of_small_scale_that_is_worse_than_a_constant_is_named():
    predicted, targets = drawn((0.1, 2.6))
    task = Regression()
    results = further(task, predicted, targets)
    assert quantity(results.tables["values"][1], "r2").value < -5
    (warning,) = results.warnings
    check = check_of(warning)
    assert (check.name, check.label, check.result) == ("rmse_width", "RMSE of width", "missed")
    assert check.quantity.value == pytest.approx(root_mean_squared_error(targets[:, 1], predicted[:, 1]), rel=1e-5)
    assert "'width' is not significantly better than one answer for all samples" in render(warning)
    statistics = {
        metric.info.name: metric.scores({"values": predicted}, {"target": targets}).numpy() for metric in task.metrics
    }
    assert task.deciding.value(statistics["rmse"]) < 0.2 * task.chance_level(NAMES, statistics)


@pytest.mark.parametrize(("noise", "named"), [(0.9, False), (1.0, True)])
def test_what_is_not_significantly_better_is_named(noise, named):
    predicted, targets = drawn((0.1, noise), count=400)
    assert bool(further(Regression(), predicted, targets).warnings) is named


def test_one_answer_for_a_value_is_named_whatever_the_loss():
    predicted, targets = drawn((0.1, 0.1))
    for error in ("squared", "absolute", "huber"):
        predicted[:, 1] = targets[:, 1].median() if error == "absolute" else targets[:, 1].mean()
        assert [warning.subject for warning in further(Regression(error), predicted, targets).warnings] == ["width"]


def test_absolute_errors_are_compared_with_the_median():
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(400, 2, generator=generator)
    targets[:40, 1] += 30.0
    predicted = targets.clone()
    predicted[:40, 1] = 0.0
    task = Regression("absolute")
    results = further(task, predicted, targets)
    y = targets[:, 1]
    assert results.tables["values"][1]["mae_of_constant"] == pytest.approx(float((y - y.median()).abs().mean()), rel=1e-2)
    assert results.warnings == ()
    # The squared error is that of the 40 values which no constant meets.
    assert [warning.subject for warning in further(Regression(), predicted, targets).warnings] == ["width"]


def test_targets_that_are_all_equal_are_no_better_than_a_constant():
    predicted, targets = drawn((0.1, 0.1))
    targets[:, 1] = predicted[:, 1] = 3.0
    results = further(Regression(), predicted, targets)
    assert quantity(results.tables["values"][1], "r2").how == "not measured"
    assert [warning.subject for warning in results.warnings] == ["width"]


def test_an_output_that_is_not_finite_is_named():
    predicted, targets = drawn((0.1, 0.1))
    predicted[3, 1] = torch.inf
    (warning,) = further(Regression(), predicted, targets).warnings
    assert check_of(warning).quantity.how == "not measured"
    assert "'width' has no error" in render(warning)


def test_the_results_of_one_value_are_the_metrics():
    predicted, targets = drawn((0.1, 0.1))
    results = further(Regression(), predicted[:, :1], targets[:, :1], NAMES[:1])
    assert (results.tables, results.warnings) == ({}, ())


@pytest.mark.parametrize("absolute", [False, True])
def test_the_constant_of_a_period_goes_the_short_way_round(absolute):
    angles = np.array([[350.0], [0.0], [10.0], [3.0], [357.0]])
    errors = constant_errors(angles, 360.0, absolute=absolute)
    assert errors[:, 0] == pytest.approx([10.0, 0.0, 10.0, 3.0, 3.0])


def test_angles_around_zero_do_not_raise_r2():
    task = Regression(period=360.0)
    targets = (5 * torch.randn(300, 2, generator=torch.Generator().manual_seed(0))) % 360
    r2 = next(metric for metric in task.metrics if metric.info == R2)
    rows = r2.scores({"values": torch.zeros_like(targets)}, {"target": targets}).numpy()
    assert r2.value(rows) == pytest.approx(0.0, abs=0.02)
    assert len(further(task, torch.zeros_like(targets), targets).warnings) == 2
