from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from compress.backends.node_names import FUSED, NAME_SCOPES, NO_MODULE, module_path, name_nodes


def node_of(name: str, *inputs: str, operator: str = "Conv", scopes: str = "") -> ir.Node:
    """A node whose inputs are initializers where their name has a dot."""
    values = [ir.Value(name=tensor) for tensor in inputs]
    for value in values:
        if "." in str(value.name):
            value.const_value = ir.tensor(np.ones((2,) if "bias" in str(value.name) else (2, 2), np.float32), name=value.name)
    metadata = {NAME_SCOPES: scopes} if scopes else {}
    return ir.node(operator, values, outputs=[ir.Value(name=f"{name}_y")], name=name, metadata_props=metadata)


def network_of(*nodes: ir.Node) -> ir.Model:
    """A network of these nodes; their constants are initializers of it."""
    values: dict[str, ir.Value] = {}
    for node in nodes:
        for index, value in enumerate(node.inputs):
            node.replace_input_with(index, values.setdefault(str(value.name), value))
    constants = [value for value in values.values() if value.const_value is not None]
    inputs = [value for value in values.values() if value.const_value is None]
    graph = ir.Graph(inputs, nodes[-1].outputs, nodes=nodes, initializers=constants, opset_imports={"": 18})
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(
    ("name", "ours", "module"),
    [
        ("/features/features.0/features.0.0/Conv", False, "features.0.0"),
        ("/layer1/layer1.0/conv1/Conv", False, "layer1.0.conv1"),
        ("layer1.0/Add", True, "layer1.0"),
        ("layer1.0.conv1", True, "layer1.0.conv1"),
        ("layer1.0.conv1", False, ""),
        ("Conv_12", True, ""),
        ("node_Conv_3", True, ""),
        ("", True, ""),
    ],
)
def test_names_of_every_exporter_lead_to_the_module(name: str, ours: bool, module: str) -> None:
    assert module_path(node_of(name, "x", "w"), ours=ours) == module


def test_weights_and_scopes_lead_to_the_module() -> None:
    node = node_of("node_Conv_3", "x", "body.3.weight")
    assert module_path(node) == ""  # not yet an initializer of a network
    network_of(node)
    assert module_path(node) == "body.3"
    node.metadata_props[NAME_SCOPES] = "['body', 'body.4', 'conv2d']"
    assert module_path(node) == "body.4"


@pytest.mark.parametrize("scopes", ["f()", "[", "1", "(" * 10_000])
def test_scopes_that_are_not_a_list_are_no_path(scopes: str) -> None:
    assert module_path(node_of("a/Conv", "x", scopes=scopes)) == ""


def test_nodes_are_named_after_layers_or_modules_and_operators() -> None:
    scopes = "['', 'body', 'relu']"
    nodes = (
        node_of("node_Conv_0", "x", "stem.weight", "stem.bias"),
        node_of("node_Conv_1", "x", "stem.weight", "stem.bias"),  # a layer that runs twice
        node_of("node_Relu", "a", operator="Relu", scopes=scopes),
        node_of("node_Relu_1", "b", operator="Relu", scopes=scopes),
        node_of("node_Add", "c", "scale.bias", operator="Add"),
        node_of("", "d", operator="Mul"),
    )
    name_nodes(network_of(*nodes))
    assert [node.name for node in nodes] == ["stem", "stem/Conv", "body/Relu", "body/Relu_3", "scale/Add", "Mul_5"]


def test_operators_outside_of_all_modules_have_none() -> None:
    assert module_path(node_of("n", "x", operator="Shape", scopes=f"['', '{NO_MODULE}', 'sym_size']")) == ""
    assert module_path(node_of(f"{NO_MODULE}/Shape_2", "x", operator="Shape"), ours=True) == ""


@pytest.mark.parametrize("suffix", ["_quant", "_MatMul_quant", "_MatMul_quant_scales_mul", "_quant_output_scale_mul"])
def test_names_of_dynamic_quantization_lead_to_the_layer(suffix: str) -> None:
    node = node_of(f"encoder.layer.0.output.dense{suffix}", "x", operator="MatMulInteger")
    assert module_path(node, ours=True) == "encoder.layer.0.output.dense"


def test_a_fused_node_has_the_module_of_weights_that_only_it_uses() -> None:
    nodes = [
        node_of(f"SkipLayerNorm_{index}", f"x{index}", "norm.weight", operator="SkipLayerNormalization") for index in (0, 1)
    ]
    for node in nodes:
        node.domain = FUSED
    network_of(nodes[0])
    assert module_path(nodes[0], ours=True) == "norm"
    nodes[1].replace_input_with(1, nodes[0].inputs[1])
    assert module_path(nodes[0], ours=True) == ""
