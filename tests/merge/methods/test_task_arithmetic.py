"""Sums of what networks learned since they were one."""

import pytest
import torch

from compress.merge.methods.average import Average
from compress.merge.methods.task_arithmetic import TaskArithmetic

GENERATOR = torch.Generator().manual_seed(0)
BASE, FIRST, SECOND = ({"w": torch.randn(4, 3, generator=GENERATOR)} for _ in range(3))


def test_whole_differences_are_added():
    merged = TaskArithmetic(scale=1.0).merge([FIRST, SECOND], BASE, (0.5, 0.5), 0)
    torch.testing.assert_close(merged["w"], FIRST["w"] + SECOND["w"] - BASE["w"])


def test_with_a_scale_of_one_over_n_it_is_the_mean():
    merged = TaskArithmetic(scale=0.5).merge([FIRST, SECOND], BASE, (0.3, 0.7), 0)
    torch.testing.assert_close(merged["w"], Average().merge([FIRST, SECOND], None, (0.3, 0.7), 0)["w"])


def test_without_a_base_there_is_nothing_to_add():
    with pytest.raises(ValueError, match="that all were fine-tuned from"):
        TaskArithmetic().merge([FIRST, SECOND], None, (0.5, 0.5), 0)
