"""Networks without known meaning: similarity to the original outputs, whatever their number and shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.core.errors import ModelError
from compress.tasks.metric_quantity import least_gain
from compress.tasks.outputs import Outputs


def test_outputs_are_named_by_position_and_joined() -> None:
    task = Outputs()
    named = task.name_outputs((torch.ones(2, 3), torch.ones(2, 4, 5)))
    assert {name: tuple(values.shape) for name, values in named.items()} == {"output_0": (2, 3), "output_1": (2, 4, 5)}
    assert list(task.name_outputs({"a": torch.ones(2, 3), "b": torch.ones(2, 1)})) == ["output_0", "output_1"]
    with pytest.raises(ModelError, match="returns str"):
        task.name_outputs("nothing")


def similarity(z_hat: dict[str, torch.Tensor], z: dict[str, torch.Tensor]) -> float:
    metric = Outputs().deciding
    return metric.value(metric.scores(z_hat, z).numpy())


def test_similarity_is_the_cosine_of_outputs_of_equal_size() -> None:
    z = torch.nn.functional.normalize(torch.randn(50, 8), dim=1)
    z_hat = torch.nn.functional.normalize(z + 0.2 * torch.randn(50, 8), dim=1)
    expected = torch.nn.functional.cosine_similarity(z, z_hat).mean()
    assert similarity({"output_0": z_hat}, {"output_0": z}) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("factor", [0.01, 0.5, 3.0])
def test_similarity_sees_the_size_of_an_output(factor: float) -> None:
    z = torch.randn(20, 5)
    assert similarity({"output_0": factor * z}, {"output_0": z}) == pytest.approx(2 * factor / (1 + factor**2), abs=1e-5)


def test_a_large_output_does_not_hide_a_small_one() -> None:
    large, small = 1000 * torch.randn(100, 10), torch.randn(100, 3)
    z, z_hat = {"output_0": large, "output_1": small}, {"output_0": large, "output_1": small.flip(0)}
    alone = similarity({"output_1": small.flip(0)}, {"output_1": small})
    assert similarity(z_hat, z) == pytest.approx(alone)
    assert alone < 0.5
    scores = Outputs().deciding.scores(z_hat, z).numpy()
    quantities = Outputs().further_results({"similarity": scores}, (), "torch").quantities
    assert quantities["similarity_output_0"].value == pytest.approx(1.0)
    assert quantities["similarity_output_1"].value == pytest.approx(alone)
    drawn = np.bincount(np.random.default_rng(0).integers(0, 100, 100), minlength=100)
    assert Outputs().deciding.resampled(scores)(drawn) == pytest.approx(Outputs().deciding.value(scores.repeat(drawn, axis=0)))


@pytest.mark.parametrize("constant", [False, True])
def test_each_output_must_use_the_input_unless_the_original_does_not(constant: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes, scores = 1000 * torch.randn(60, 4, generator=generator), 1 + 0.1 * torch.rand(60, 1, generator=generator)
    anchors = torch.ones(60, 6)
    z = {"output_0": boxes, "output_1": scores, "output_2": anchors}
    z_hat = z | {"output_1": torch.full((60, 1), 1.05) if constant else scores, "output_2": 0.98 * anchors}
    assert similarity(z_hat, z) > 0.99
    metric, order = Outputs().deciding, torch.arange(60).roll(1)
    permuted = {name: values[order] for name, values in z_hat.items()}
    _, gain = least_gain(metric, metric.scores(permuted, z).numpy(), metric.scores(z_hat, z).numpy(), "others")
    assert (gain.low > 0) is not constant


def test_similarity_is_0_where_undefined() -> None:
    z = {"output_0": torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])}
    z_hat = {"output_0": torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [float("nan"), 0.0]])}
    scores = Outputs().deciding.scores(z_hat, z)
    torch.testing.assert_close(scores, torch.tensor([[1.0], [2 / 3], [1.0], [0.0], [0.0]]))
    assert Outputs().deciding.value(scores[:2].numpy()) == pytest.approx(5 / 6)


def test_the_loss_is_the_relative_squared_error() -> None:
    z, z_hat = {"output_0": torch.tensor([[3.0, 4.0]])}, {"output_0": torch.tensor([[3.0, 5.0]])}
    assert float(Outputs().loss(z_hat, z)) == pytest.approx(1 / 25)


def test_integer_outputs_count_where_there_are_no_others() -> None:
    z = {"output_0": torch.tensor([[1, 2]])}
    assert float(Outputs().deciding.scores(z, z)[0]) == pytest.approx(1.0)
    assert Outputs().agreement(z, z).max_abs == 0
