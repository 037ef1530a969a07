from dataclasses import replace

import numpy as np
import pytest
import torch

from compress.core.errors import TrainingError
from compress.data.sources.distilled_set import read
from compress.dataset_distillation import optimize_images
from tests.dataset_distillation.runs import MATCHING, QUICK, candidate, stage


@pytest.mark.parametrize("name", MATCHING)
def test_matching_starts_from_real_images_and_lowers_its_loss(context, name):
    way = {"gradient": {"iterations": 40, "inner": 40, "network_steps": 0, "batch": 16}, "distribution": {"iterations": 60},
           "trajectory": {"iterations": 40, "experts": 1, "epochs": 2, "start": 0, "lr": 30.0, "steps": 4}}[name]  # fmt: skip
    outcome = stage(name, method={name: way}, augmentation=[]).run(candidate(), context)
    y = outcome.curves["matching_loss"].y
    assert np.mean(y[-5:]) < 0.9 * np.mean(y[:5])


@pytest.mark.parametrize("name", [*MATCHING, "inversion"])
def test_an_interrupted_run_continues_to_equal_images(context, name, monkeypatch):
    monkeypatch.setattr(optimize_images, "EVERY_S", -1.0)
    more = {"images_per_class": 4, "method": {name: QUICK[name] | {"iterations": 6}}}
    stage(name, **more).run(candidate(), context)
    whole = read(context.folder)
    again = replace(context, folder=context.folder.with_name("again"))
    changes = optimize_images._step

    def cut(loss, optimizer, label, index):
        if index == 5:
            raise KeyboardInterrupt
        return changes(loss, optimizer, label, index)

    monkeypatch.setattr(optimize_images, "_step", cut)
    with pytest.raises(KeyboardInterrupt):
        stage(name, **more).run(candidate(), again)
    assert list(again.folder.glob("*.checkpoint.pt"))
    numbers = []
    monkeypatch.setattr(optimize_images, "_step", lambda *given: numbers.append(given[-1]) or changes(*given))
    stage(name, **more).run(candidate(), again)
    assert numbers[0] > 3
    assert torch.equal(read(again.folder).images, whole.images)


def test_a_diverging_learning_rate_is_reported(context):
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at update .*lower lr in `method`"):
        stage("distribution", method={"distribution": {"iterations": 60, "lr": 1e30}}).run(candidate(), context)
