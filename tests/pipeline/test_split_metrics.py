"""Metrics of both splits where the deciding one has a threshold: it is chosen on validation, and held against on test."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.errors import DataError
from compress.core.network_spec import image_spec
from compress.core.stage import Candidate, Context
from compress.data.interface import Data
from compress.pipeline.split_metrics import CONTROL, measure_control, measure_splits
from compress.tasks.classification import Classification
from compress.tasks.inspection import Inspection
from compress.tasks.operating_point import threshold_for_new
from compress.train.checkpoints import save_weights
from tests.export.tiny import TinySplit, split

SPEC = image_spec(channels=3, height=8, width=8, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("crack", "good", "stain"))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)).eval()


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    made = make_context(Data(SPEC, *(split(count, seed, SPEC) for seed, count in enumerate((30, 150, 240)))))
    made.folder.mkdir(exist_ok=True)
    return dataclasses.replace(made, task=Inspection(fpr=0.1).for_spec(SPEC))


def scores(module: nn.Module, samples: TinySplit) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        z = module(samples.inputs).double()
    return (torch.logsumexp(z[:, [0, 2]], 1) - z[:, 1]).numpy(), samples.targets.numpy()


def test_the_threshold_of_validation_decides_on_test(context: Context) -> None:
    module = network()
    measured = measure_splits(Candidate(SPEC, module), context)
    score, kinds = scores(module, context.data.validation)
    threshold = threshold_for_new(score[kinds == 1], 0.1)
    assert measured.results["alarm_threshold"].value == pytest.approx(threshold, rel=1e-5)
    score, kinds = scores(module, context.data.test)
    over = score > threshold + 1e-6 * abs(threshold)
    assert measured.metrics["recall_at_fpr"].value == pytest.approx(over[kinds != 1].mean())
    assert measured.metrics["false_alarm_rate"].value == pytest.approx(over[kinds == 1].mean())
    assert measured.results["recall_stain"].value == pytest.approx(over[kinds == 2].mean())
    assert measured.test.metric == measured.metrics["recall_at_fpr"].value
    assert measured.metrics["false_alarm_rate_validation"].value <= 0.1


def test_scores_that_are_kept_have_the_threshold(context: Context) -> None:
    measured = measure_splits(Candidate(SPEC, network()), context)
    assert context.task.deciding.value(measured.test.scores) == measured.metrics["recall_at_fpr"].value
    assert np.isnan(measured.validation.scores[:, 3]).all()


def test_a_control_has_a_threshold_of_its_own(context: Context) -> None:
    module, control = network(), network(1)
    save_weights(control, context.folder / CONTROL)
    measured = measure_splits(Candidate(SPEC, module), context)
    results = measure_control(Candidate(SPEC, copy.deepcopy(module)), context, measured.test.scores)
    alone = measure_splits(Candidate(SPEC, control), context).metrics["recall_at_fpr"].value
    assert results["control_recall_at_fpr"].value == pytest.approx(alone)
    gain = measured.metrics["recall_at_fpr"].value - alone
    assert results["recall_at_fpr_over_control"].value == pytest.approx(gain)


def test_without_a_threshold_nothing_is_added(context: Context) -> None:
    context = dataclasses.replace(context, task=Classification())
    measured = measure_splits(Candidate(SPEC, network()), context)
    assert measured.results == {}
    assert measured.test.scores.shape == (240,)
    assert measure_control(Candidate(SPEC, network()), context, measured.test.scores) == {}


def test_samples_without_a_label_are_refused_also_in_splits_of_the_users_own(context: Context) -> None:
    test = context.data.test
    assert isinstance(test, TinySplit)
    targets = torch.where(torch.arange(len(test)) < 3, -1, test.targets)
    data = dataclasses.replace(context.data, test=dataclasses.replace(test, targets=targets))
    with pytest.raises(DataError, match=f"3 of {len(test)} test samples have no label"):
        measure_splits(Candidate(SPEC, network()), dataclasses.replace(context, data=data, task=Classification()))
