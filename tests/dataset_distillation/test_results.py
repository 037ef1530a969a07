from dataclasses import replace

import torch

from compress.core.fact import Fact
from compress.core.sentences import render
from compress.data.sources.distilled_set import read
from tests.dataset_distillation.runs import candidate, stage


def test_without_a_teacher_labels_are_one_hot(context):
    outcome = stage("random", teacher="none").run(candidate(), context)
    result = read(context.folder)
    assert torch.equal(result.soft.argmax(1), result.targets)
    assert set(result.soft.unique().tolist()) == {0.0, 1.0}
    assert Fact.of("dataset_distillation.one_hot_labels") in outcome.notes
    assert all(render(note) for note in outcome.notes)
    alone = stage("random").run(candidate(), replace(context, teachers=(), folder=context.folder.with_name("other")))
    assert "teacher_agreement" not in alone.results


def test_the_random_baseline_has_as_many_images(context):
    outcome = stage("random", control=True).run(candidate(), replace(context, smoke=True))
    on_set, random = (outcome.results[f"{name}_accuracy_validation"] for name in ("set", "random"))
    assert on_set.value == random.value
    assert on_set.low <= on_set.value <= on_set.high
