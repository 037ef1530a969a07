"""What is said of a stage once it is measured."""

import numpy as np
import pytest

from compress.core.sentences import render
from compress.pipeline.evaluation import unearned
from compress.pipeline.scorecard import gain


@pytest.mark.parametrize(("better", "said"), [(0, True), (4, True), (60, False)])
def test_a_teacher_that_brought_nothing_is_told(better: int, said: bool) -> None:
    alone, distilled = np.zeros(100, np.float32), np.zeros(100, np.float32)
    alone[10:30] = 1.0
    distilled[: 20 + better] = 1.0
    told = unearned({"accuracy_over_control": gain(alone, distilled, "the student trained alone")}, "accuracy")
    assert bool(told) == said
    if said:
        assert (told[0].code, told[0].subject) == ("pipeline.no_gain_over_control", "accuracy")
        assert told[0].values["samples"] == 100
        assert told[0].values["difference"] == pytest.approx(better)
        text = f"the teacher brought no accuracy that 100 test samples can tell: +{better}.00 points over"
        assert render(told[0]).startswith(text)


def test_without_a_control_nothing_is_told() -> None:
    assert unearned({}, "accuracy") == ()
