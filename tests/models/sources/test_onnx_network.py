"""ONNX files as torch networks: the outputs of the file for any batch, and layers that can be pruned and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compress.backends import onnx_files, onnx_session
from compress.backends import onnx_graph as graphs
from compress.core.errors import ConversionError
from compress.models.sources.onnx_file import prepare_model
from compress.models.sources.onnx_network import build_network
from tests.models.sources.tiny_onnx_files import NETWORKS, write_network


def converted(path: Path) -> nn.Module:
    prepared, _ = prepare_model(onnx_files.load(path), path.name)
    return build_network(graphs.to_ir(prepared), "prune")


@pytest.mark.parametrize("batch", ["n", None])
@pytest.mark.parametrize("kind", NETWORKS)
def test_any_batch_gives_what_the_file_gives_sample_by_sample(kind: str, batch: str | None, tmp_path: Path) -> None:
    write_network(kind, tmp_path / "m.onnx", batch=batch)
    network = converted(tmp_path / "m.onnx")
    inputs = [torch.cat([values, values.flip(0)]) for values in NETWORKS[kind][1]]
    session = onnx_session.create_session(onnx.load(tmp_path / "m.onnx"))
    names = [value.name for value in session.get_inputs()]
    rows = [{name: values[index : index + 1].numpy() for name, values in zip(names, inputs, strict=True)} for index in range(4)]
    expected = np.concatenate([session.run(None, feeds)[0] for feeds in rows])
    np.testing.assert_allclose(network(*inputs).detach(), expected, atol=1e-5)


def test_layers_have_the_names_of_nodes_and_the_weights_of_the_source(tmp_path: Path) -> None:
    source = write_network("cnn", tmp_path / "m.onnx")
    network = converted(tmp_path / "m.onnx")
    layers = {name: type(part) for name, part in network.named_modules() if isinstance(part, (nn.Conv2d, nn.Linear, nn.PReLU))}
    assert layers["depth"] is nn.Conv2d
    assert layers["head"] is nn.Linear
    assert list(layers.values()).count(nn.Conv2d) == 6
    torch.testing.assert_close(network.get_submodule("depth").weight, source.get_submodule("depth").weight)
    assert not any(True for _ in network.constants.parameters())


def test_every_weight_of_a_transformer_is_trained(tmp_path: Path) -> None:
    source = write_network("transformer", tmp_path / "m.onnx")
    network = converted(tmp_path / "m.onnx")
    network(*NETWORKS["transformer"][1]).sum().backward()
    trained = sum(weight.numel() for weight in network.parameters() if weight.grad is not None)
    constants = source.get_parameter("places").numel()  # a sum with a constant stays as it is
    assert trained == sum(weight.numel() for weight in source.parameters()) - constants


def test_a_loop_is_refused_by_operator_and_node(tmp_path: Path) -> None:
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["n", 4]) for name in "xy"]
    node = onnx.helper.make_node("Hardmax", ["x"], ["y"], name="top")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:])), tmp_path / "m.onnx")
    with pytest.raises(ConversionError, match=r"prune needs a network that can be trained, but operator Hardmax \(top\)"):
        build_network(graphs.to_ir(onnx.load(tmp_path / "m.onnx")), "prune")
