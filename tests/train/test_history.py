import json
import math

import pytest

from compress.core.fact import Fact
from compress.train.history import History, TrainingProgress

NOTE = Fact.of("train.teacher_logits_top_k", k=2, bytes_per_view=12)
MATCHED = ({"loss": "hint", "student_layer": "a", "student_shape": [4, 2, 2]},)


def progress(*metrics, higher_is_better=True):
    network = TrainingProgress(notes=[NOTE])
    better = [
        network.add(1.0 / n, 2.0 / n, metric, higher_is_better=higher_is_better) for n, metric in enumerate(metrics, start=1)
    ]
    return network, better


def test_curves_count_epochs_from_one_and_are_named_after_the_metric():
    history = progress(0.5, 0.7, 0.6)[0].history("accuracy", MATCHED)
    assert {name: curve.y for name, curve in history.curves.items()} == {
        "loss": (1.0, 1 / 2, 1 / 3),
        "loss_validation": (2.0, 1.0, 2 / 3),
        "accuracy_validation": (0.5, 0.7, 0.6),
    }
    assert all(curve.x == (1.0, 2.0, 3.0) for curve in history.curves.values())
    assert (history.epochs, history.best_epoch, history.best_metric) == (3, 2, 0.7)


@pytest.mark.parametrize(
    ("metrics", "higher", "better", "best"),
    [
        ((0.5, 0.7, 0.7, 0.6), True, [True, True, False, False], 2),
        ((0.5, 0.3, 0.3, 0.6), False, [True, True, False, False], 2),
        ((-3.0, -2.0), True, [True, True], 2),
        ((-3.0,), True, [True], 1),
        ((math.nan, 0.1), True, [False, True], 2),
        ((math.nan,), True, [False], 0),
    ],
)
def test_the_best_epoch_is_the_first_of_the_best_metric(metrics, higher, better, best):
    network, result = progress(*metrics, higher_is_better=higher)
    assert result == better
    assert network.best_epoch == best


def test_while_the_metric_stays_the_same_the_lowest_validation_loss_is_the_best():
    network = TrainingProgress()
    assert [network.add(1.0, loss, 0.0) for loss in (0.5, 0.3, 0.4, 0.2)] == [True, True, False, True]
    assert network.best_epoch == 4
    assert [network.add(1.0, loss, metric) for loss, metric in ((0.6, 0.1), (0.1, 0.1), (0.1, 0.0))] == [True, False, False]
    assert network.best_epoch == 5


def test_a_history_and_a_progress_survive_json_and_a_checkpoint():
    network, _ = progress(0.5, 0.7)
    history = network.history("accuracy", MATCHED)
    assert History.from_json(json.loads(json.dumps(history.to_json()))) == history
    assert History.from_json(json.loads(json.dumps(History().to_json()))) == History()
    again = TrainingProgress.from_state_dict(json.loads(json.dumps(network.state_dict())))
    assert again == network
    assert again.add(0.1, 0.1, 0.9)


def test_the_teachers_time_is_not_part_of_equality():
    assert History(teacher_s=1.0) == History(teacher_s=2.0)
    assert History(epochs=1) != History(epochs=2)
