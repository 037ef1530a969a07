from dataclasses import replace

import pytest

from compress.core.errors import TrainingError
from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.response import Response
from compress.tasks.classification import Classification
from compress.train.curriculum.settings import Curriculum
from compress.train.plan import TrainingPlan
from compress.train.teachers.base import Teacher
from tests.train.toy_training import SETTINGS, ToySplit, conv_net, toy_data, train


class Named(Teacher):
    def __init__(self, key):
        self.key = key


def plan(**changes):
    parts = {"training": SETTINGS, "data": toy_data(), "task": Classification(), "terms": (HardLabels(),), "seed": 3}
    return TrainingPlan(**{**parts, **changes})


def test_nothing_to_train_on_nothing_to_minimise_and_a_missing_teacher_are_refused(tmp_path):
    empty = toy_data()
    object.__setattr__(empty, "train", ToySplit(0, 0))
    with pytest.raises(TrainingError, match="a batch needs at least 2"):
        train(conv_net(), tmp_path, data=empty)
    with pytest.raises(TrainingError, match="loss terms has a weight above 0"):
        train(conv_net(), tmp_path, terms=(HardLabels(weight=0.0),))
    with pytest.raises(TrainingError, match="'response' needs a teacher"):
        train(conv_net(), tmp_path, terms=(Response(),))


def test_terms_of_weight_zero_need_no_teacher():
    checked = plan(terms=(HardLabels(), Response(weight=0.0)))
    checked.validate()
    assert checked.active_terms == (HardLabels(),)


def test_the_fingerprint_of_equal_plans_is_equal_and_ignores_the_tracker():
    assert plan().fingerprint(conv_net()) == plan().fingerprint(conv_net())
    tracked = plan(training=SETTINGS.model_copy(update={"tracker": "tensorboard"}))
    assert tracked.fingerprint(conv_net()) == plan().fingerprint(conv_net())


@pytest.mark.parametrize(
    "changes",
    [
        {"training": SETTINGS.model_copy(update={"lr": 0.5})},
        {"data": toy_data(views=1)},
        {"data": replace(toy_data(), validation=ToySplit(24, 9))},
        {"terms": (HardLabels(weight=0.5),)},
        {"terms": (HardLabels(), Response())},
        {"seed": 4},
        {"teacher": Named("a")},
        {"curriculum": Curriculum(mixup=1.0)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_fingerprint_changes_with_all_that_decides_the_weights(changes):
    assert plan(**changes).fingerprint(conv_net()) != plan().fingerprint(conv_net())
    assert plan().fingerprint(conv_net(1)) != plan().fingerprint(conv_net())
    assert plan(teacher=Named("a")).fingerprint(conv_net()) != plan(teacher=Named("b")).fingerprint(conv_net())
