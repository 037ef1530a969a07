"""Which settings are refused, and that a training with each continues bit for bit after an interruption."""

import pytest
import torch
from pydantic import ValidationError

from compress.core.fact import Fact
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.response import Response
from compress.distill.stage import Distill
from compress.distill.teachers.settings import TemporalEnsemble
from compress.tasks.classification import Classification
from compress.train.curriculum.settings import Curriculum
from compress.train.teachers.cached_logits import CachedTeacher
from compress.train.teachers.logit_shards import LogitFolder
from tests.train.toy_training import SETTINGS, Countdown, conv_net, toy_data, train

CURRICULA = [
    Curriculum(mixup=0.5), Curriculum(cutmix=1.0, erase=0.5), Curriculum(mine="teacher_error"), Curriculum(mine="student_loss"),
    Curriculum(mine="disagreement"), Curriculum(temperature="entropy"), Curriculum(temperature="learned"),
    Curriculum(balance="uncertainty"), Curriculum(balance="gradient_norm"),
]  # fmt: skip


def teach(folder, curriculum, **more):
    data = toy_data()
    teacher = CachedTeacher(
        [conv_net(7)], data.train, Classification(), key="t", cache=LogitFolder(folder / "cache"), device="cpu"
    )
    settings = SETTINGS.model_copy(update={"epochs": 2})
    module, terms = conv_net(), (HardLabels(weight=0.5), Response())
    history = train(module, folder, settings, data=data, terms=terms, teacher=teacher, curriculum=curriculum, **more)
    return module, history


@pytest.mark.parametrize("curriculum", CURRICULA, ids=lambda c: str(c.model_dump(exclude_defaults=True)))
def test_a_training_goes_on_after_an_interruption_with_the_same_bits(tmp_path, curriculum):
    def interrupt():
        raise KeyboardInterrupt

    expected, history = teach(tmp_path / "whole", curriculum)
    with pytest.raises(KeyboardInterrupt):
        teach(tmp_path / "cut", curriculum, after_step=Countdown(5, interrupt))
    result, again = teach(tmp_path / "cut", curriculum)
    plain, _ = teach(tmp_path / "plain", Curriculum())
    assert again == history
    assert all(torch.equal(a, b) for a, b in zip(expected.state_dict().values(), result.state_dict().values(), strict=True))
    assert not torch.equal(plain[0].weight, result[0].weight)
    assert (Fact.of("train.teacher_online") in history.notes) == curriculum.mixes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"curriculum": {"lowest": 5.0, "highest": 4.0}}, "lowest temperature 5 must be below the highest, 4"),
        ({"curriculum": {"mine": "hardest"}}, "teacher_error"),
        ({"curriculum": {"erase": 1.5}}, "less than or equal to 1"),
        (
            {"curriculum": {"erase": 0.2}, "losses": [{"contrastive": {"memory": {}}}]},
            "`contrastive` with a memory needs unmixed images",
        ),
        ({"curriculum": {"balance": "gradnorm"}}, "gradient_norm"),
        ({"curriculum": {"restoring": -1}}, "greater than or equal to 0"),
        ({"curriculum": {"mixup": 1.0}, "teacher": TemporalEnsemble()}, "teacher `ensemble` needs unmixed images"),
    ],
)
def test_what_cannot_be_is_refused_when_the_recipe_is_read(given, message):
    with pytest.raises(ValidationError, match=message):
        Distill(**given)
