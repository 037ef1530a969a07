"""Inputs of a file from samples: names, shapes, batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper

from compress.backends import onnx_graph as graphs
from compress.backends.feeds import feeds_size, first_feeds, fit_feeds, make_batches, name_feeds, resize_axis
from compress.core.errors import ConversionError
from compress.core.signature import Signature, TensorSpec
from tests.export.tiny import TinySplit


def network(**shapes: Sequence[int | str]) -> ir.Model:
    """Adds what it is given."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    nodes = [helper.make_node("Sum", list(shapes), ["y"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return graphs.to_ir(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))


def samples(count: int, **shapes: tuple[int, ...]) -> list[dict[str, np.ndarray]]:
    return [{name: np.full((1, *shape), index, np.float32) for name, shape in shapes.items()} for index in range(count)]


def test_samples_come_in_batches_of_the_size_asked_for_or_of_the_network() -> None:
    x = samples(5, a=(3,))
    assert [feeds_size(batch) for batch in make_batches(x, network(a=["n", 3]), 2)] == [2, 2, 1]
    batches = make_batches(x, network(a=[4, 3]), 2)
    assert [batch["a"][:, 0].tolist() for batch in batches] == [[0, 1, 2, 3], [4]]


def test_one_input_needs_no_name_and_several_do() -> None:
    assert list(make_batches(samples(1, pixels=(3,)), network(input=["n", 3]), 2)[0]) == ["input"]
    with pytest.raises(ConversionError, match="has inputs a, b; the data has no b, only a, c"):
        name_feeds(samples(1, a=(3,), c=(3,))[0], ("a", "b"), "m.onnx")


def test_neighbours_of_different_lengths_stay_apart() -> None:
    mixed = [*samples(2, a=(3,)), *samples(1, a=(5,)), *samples(1, a=(3,))]
    assert [batch["a"].shape for batch in make_batches(mixed, network(a=["n", "length"]), 8)] == [(2, 3), (1, 5), (1, 3)]


def test_an_input_without_an_axis_of_samples_makes_the_batch_one() -> None:
    batches = make_batches(samples(3, x=(4,), state=(2, 1, 4), rate=()), network(x=["n", 4], state=[2, 1, 4], rate=[]), 8)
    assert [{name: array.shape for name, array in batch.items()} for batch in batches] == [
        {"x": (1, 4), "state": (2, 1, 4), "rate": ()}
    ] * 3


@pytest.mark.parametrize("shape", [(5,), (3, 3)])
def test_data_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConversionError, match=r"input 'a' of .* has shape any×3×3×3, but the data has 1×"):
        make_batches(samples(1, a=shape), network(a=["n", 3, 3, 3]), 1)


def test_first_samples_of_a_split_fill_a_fixed_batch() -> None:
    split = TinySplit(torch.arange(20.0)[:, None], torch.zeros(20, dtype=torch.int64))
    assert first_feeds(network(a=[6, 1]), split, 1)["a"][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert first_feeds(network(a=["n", 1]), split, 2)["a"][:, 0].tolist() == [0, 1]


def test_the_first_sample_alone_fits_an_input_without_an_axis_of_samples() -> None:
    arrays = {"x": np.zeros((4, 3), np.float32), "rate": np.full(4, 16_000)}
    feeds = fit_feeds(arrays, {"x": (("n", 3), "float32"), "rate": ((), "int64")}, "m.onnx")
    assert feeds["x"].shape == (4, 3)
    assert (feeds["rate"].shape, int(feeds["rate"])) == ((), 16_000)


def test_a_free_axis_is_cut_or_repeated() -> None:
    ids = TensorSpec(name="ids", dtype="int64", shape=("batch", "sequence"))
    state = TensorSpec(name="state", shape=("batch", 3))
    feeds = {"ids": np.array([[1, 2, 3]]), "state": np.zeros((1, 3))}
    resized = [resize_axis(feeds, Signature(inputs=(ids, state)), "sequence", size) for size in (2, 5)]
    assert [each["ids"].tolist() for each in resized] == [[[1, 2]], [[1, 2, 3, 1, 2]]]
    assert all(each["state"] is feeds["state"] for each in resized)
