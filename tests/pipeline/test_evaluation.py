"""What is said of a stage once it is measured."""

import numpy as np
import pytest

from compress.core.sentences import render
from compress.pipeline.evaluation import no_gain_warning
from compress.tasks.metric_quantity import gain


@pytest.mark.parametrize(("better", "said"), [(0, True), (4, True), (60, False)])
def test_a_teacher_that_brought_nothing_is_told(better: int, said: bool) -> None:
    alone, distilled = np.zeros(100, np.float32), np.zeros(100, np.float32)
    alone[10:30] = 1.0
    distilled[: 20 + better] = 1.0
    told = no_gain_warning({"accuracy_over_control": gain(alone, distilled, "the student trained alone")}, "accuracy")
    assert bool(told) == said
    if said:
        assert (told[0].code, told[0].subject) == ("pipeline.no_gain_over_control", "accuracy")
        assert told[0].values["samples"] == 100
        assert told[0].values["difference"] == pytest.approx(better)
        assert f"{better:+.2f} points on 100 test samples" in render(told[0])


def test_without_a_control_nothing_is_told() -> None:
    assert no_gain_warning({}, "accuracy") == ()
