"""Networks without known meaning: similarity to the original outputs, whatever their number and shape."""

from __future__ import annotations

import pytest
import torch

from compress.core.errors import ModelError
from compress.tasks.outputs import Outputs


def test_outputs_are_named_by_position_and_joined() -> None:
    task = Outputs()
    named = task.name_outputs((torch.ones(2, 3), torch.ones(2, 4, 5)))
    assert {name: tuple(values.shape) for name, values in named.items()} == {"output_0": (2, 3), "output_1": (2, 4, 5)}
    assert list(task.name_outputs({"a": torch.ones(2, 3), "b": torch.ones(2, 1)})) == ["output_0", "output_1"]
    with pytest.raises(ModelError, match="returns str"):
        task.name_outputs("nothing")


def test_similarity_is_the_cosine_with_the_original_and_0_where_undefined() -> None:
    z = {"output_0": torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])}
    z_hat = {"output_0": torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [float("nan"), 0.0]])}
    scores = Outputs().deciding.scores(z_hat, z)
    torch.testing.assert_close(scores, torch.tensor([1.0, 0.5**0.5, 1.0, 0.0, 0.0]))
    assert Outputs().deciding.value(scores[:2].numpy()) == pytest.approx((1 + 0.5**0.5) / 2)


def test_the_loss_is_the_relative_squared_error() -> None:
    z, z_hat = {"output_0": torch.tensor([[3.0, 4.0]])}, {"output_0": torch.tensor([[3.0, 5.0]])}
    assert float(Outputs().loss(z_hat, z)) == pytest.approx(1 / 25)


def test_integer_outputs_count_where_there_are_no_others() -> None:
    z = {"output_0": torch.tensor([[1, 2]])}
    assert float(Outputs().deciding.scores(z, z)[0]) == pytest.approx(1.0)
    assert Outputs().agreement(z, z).max_abs == 0
