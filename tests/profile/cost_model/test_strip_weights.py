import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compress.cli.calibrate_cost_model import quantized
from compress.profile.cost_model.kernel_counts import count_kernels
from compress.profile.cost_model.optimized_graph import optimize_graph
from compress.profile.cost_model.random_networks import random_network
from compress.profile.cost_model.strip_weights import LEAST_BYTES, strip_weights
from compress.profile.remote.agent_networks import fill_weights
from tests.profile.onnx_models import network

CACHES = 1 << 20, 1 << 25


def sent(model, folder):
    """The path of a network as it arrives on a device, its weights made up."""
    folder.mkdir()
    empty, filling = strip_weights(model)
    path = folder / "model.onnx"
    path.write_bytes(empty.SerializeToString())
    return fill_weights({"path": str(path), "filling": filling})


def kinds(kernels):
    """What is run, in an order of its own: the runtime's is another each time where branches meet."""
    return sorted((kernel.kind, sorted(kernel.counts.items())) for kernel in kernels)


@pytest.mark.parametrize("number", ["fp32", "int8"])
def test_the_runtime_makes_the_same_graph_of_it(number, tmp_path):
    model = random_network(3) if number == "fp32" else quantized(random_network(3))
    onnx.save(model, tmp_path / "whole.onnx")
    path = sent(model, tmp_path / "there")
    assert path.stat().st_size < (tmp_path / "whole.onnx").stat().st_size / 10
    whole, made = (count_kernels(*optimize_graph(one), CACHES) for one in (tmp_path / "whole.onnx", path))
    assert kinds(made) == kinds(whole)


def test_weights_have_the_spread_that_they_had_and_small_ones_stay(tmp_path):
    model = network(channels=2000)
    path = sent(model, tmp_path / "there")
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    after = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    assert all(array.nbytes > LEAST_BYTES for array in before.values())
    for name, array in before.items():
        assert after[name].shape == array.shape
        assert not np.array_equal(after[name], array)
        assert after[name].std() == pytest.approx(array.std(), rel=0.05)
    small = strip_weights(network())
    assert small[1] == []
    assert small[0] == network()
