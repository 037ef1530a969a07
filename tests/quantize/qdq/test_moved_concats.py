"""Chains of concatenations and shuffles that only int8 operators read."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import image_spec
from compress.quantize.qdq.moved_concats import find_moved_concats
from compress.quantize.qdq.placement import PLACEMENTS, activations_to_calibrate
from compress.quantize.qdq.quantize_graph import quantize_static

OPERATORS = PLACEMENTS["openvino"].operators


class Shuffled(nn.Module):
    """Two units of ShuffleNetV2, whose halves meet after a shuffle; `gate` reads the last chain in float."""

    def __init__(self, gate: bool) -> None:
        super().__init__()
        self.stem, self.unit, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(4, 4, 1), nn.Conv2d(8, 8, 1)
        self.gate = gate

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image).relu()
        for _ in range(2):
            kept, changed = x.chunk(2, dim=1)
            x = torch.cat((kept, self.unit(changed).relu()), dim=1)
            x = x.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)
        x = self.head(x.tanh() if self.gate else x)
        return x.mean((2, 3))


@pytest.fixture(scope="module", params=[False, True], ids=["int8 reader", "float reader"])
def case(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("shuffled") / "m.onnx"
    torch.manual_seed(0)
    spec = image_spec(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple("abcdefgh"))
    export_onnx(Shuffled(request.param).eval(), spec, path)
    return graphs.to_ir(onnx_files.load(path)), request.param


def test_a_chain_is_found_unless_a_float_operator_reads_it(case):
    model, gate = case
    concats = {str(node.name) for node in model.graph if node.op_type == "Concat"}
    chains = find_moved_concats(model, OPERATORS)
    assert len(concats) == 2
    assert chains.nodes == (frozenset() if gate else concats)
    assert len(chains.groups) == (0 if gate else 1)


def test_a_concatenation_that_is_not_shuffled_is_no_chain(case):
    model, _ = case
    clone = model.clone()
    for node in clone.graph:
        if node.op_type in ("Transpose", "Split"):
            node.op_type = "Reshape"
    assert find_moved_concats(clone, OPERATORS).nodes == frozenset()


def test_all_tensors_of_a_chain_have_one_scale_and_its_moves_none_between(case):
    model, gate = case
    random = np.random.default_rng(0)
    names = activations_to_calibrate(model, ("openvino",))
    ranges = {name: (0.0, float(high)) for name, high in zip(names, random.uniform(1, 9, len(names)), strict=True)}
    quantized = quantize_static(model, ranges, "openvino")
    made_by = {name: node for node in quantized.graph.node for name in node.output}
    scales = {entry.name: onnx.numpy_helper.to_array(entry) for entry in quantized.graph.initializer}
    found = set()
    for node in quantized.graph.node:
        if node.op_type == "Concat":
            before = [made_by[name].op_type for name in node.input]
            assert ("DequantizeLinear" in before) != gate
            found |= {float(scales[made_by[name].input[1]]) for name in node.input if name in made_by and not gate}
        if node.op_type in ("Reshape", "Transpose") and not gate:
            assert made_by[node.input[0]].op_type in ("Concat", "Reshape", "Transpose")
    assert len(found) == (0 if gate else 1)
