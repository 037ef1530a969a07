"""Drop and rescale."""

import pytest
import torch

from compress.merge.methods.dare import Dare
from compress.merge.methods.task_arithmetic import TaskArithmetic

BASE = {"w": torch.zeros(200, 200)}
NETWORKS = [{"w": torch.full((200, 200), 1.0)}, {"w": torch.full((200, 200), 3.0)}]


def test_the_expected_sum_is_that_without_drops():
    merged = Dare(drop=0.8, scale=1.0).merge(NETWORKS, BASE, (0.5, 0.5), 0)
    assert merged["w"].mean().item() == pytest.approx(4.0, rel=0.05)
    assert {round(value, 4) for value in merged["w"].unique().tolist()} == {0.0, 5.0, 15.0, 20.0}


def test_without_drops_it_is_task_arithmetic_and_the_seed_decides():
    plain = TaskArithmetic(scale=0.4).merge(NETWORKS, BASE, (0.5, 0.5), 0)
    torch.testing.assert_close(Dare(drop=0.0, scale=0.4).merge(NETWORKS, BASE, (0.5, 0.5), 0)["w"], plain["w"])
    first, again, other = (Dare(drop=0.5).merge(NETWORKS, BASE, (0.5, 0.5), seed)["w"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
