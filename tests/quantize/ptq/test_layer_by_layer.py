"""Running layer by layer gives the inputs that each network computes as a whole."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compress.backends import onnx_graph as graphs
from compress.backends.onnx_session import create_session
from compress.quantize.ptq.input_statistics import collect_inputs
from compress.quantize.ptq.layer_by_layer import SequentialRunner
from compress.quantize.ptq.weighted_layers import read_weight, weighted_layers
from tests.quantize.ptq.chain import X


def walked(model: ir.Model, layers, change: dict[str, np.ndarray] | None = None, **size: int):
    walk = SequentialRunner(model, layers, [{"input": X[:10]}, {"input": X[10:]}], **size)
    for layer, exact, result in walk:
        yield (
            layer,
            np.concatenate(exact),
            np.concatenate(result),
            collect_inputs(layer, walk.node(layer), read_weight(model, layer.weight), exact, result, seed=0),
        )
        if change is not None and layer.weight in change:
            walk.set_weights({layer.weight: change[layer.weight]})


def test_a_walk_gives_what_both_networks_read(chain: ir.Model) -> None:
    layers = weighted_layers(chain)
    change = {layer.weight: np.round(read_weight(chain, layer.weight) * 4) / 4 for layer in layers}
    changed = graphs.with_initializers(chain, change)
    names = [layer.input for layer in layers]
    exact, result = (
        create_session(graphs.with_outputs(variant, names)).run(names, {"input": X}) for variant in (chain, changed)
    )
    for number, (layer, x, other, statistics) in enumerate(walked(chain, layers, change)):
        np.testing.assert_allclose(x, exact[number], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(other, result[number], rtol=1e-4, atol=1e-5)
        assert (number == 0) == np.array_equal(x, other), layer
        assert statistics.x.shape == statistics.x_quantized.shape


def test_a_walk_takes_fewer_images_where_they_are_large(chain: ir.Model) -> None:
    assert SequentialRunner(chain, weighted_layers(chain), [{"input": X[:1]}] * 24).images == 24
    assert SequentialRunner(chain, weighted_layers(chain), [{"input": X[:1]}] * 24, held_bytes=1).images == 16
