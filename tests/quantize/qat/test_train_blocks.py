"""Recovery of weights in blocks: the file is what was trained, and predicts better than rounding alone."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.compare_on_split import compare_on_split
from compress.core.sentences import render, render_subject
from compress.core.stage import Candidate, Context, Outcome
from compress.data.interface import Data
from compress.quantize.qat.train_blocks import match_layers
from compress.quantize.stage import Quantize
from compress.quantize.weight_only.matmul_nbits import linear_layers
from tests.quantize.encoder import SPEC, encoder, encoder_file, text_split

RECOVER = {"epochs": 6, "batch_size": 16, "lr": 2e-4, "losses": [{"response": {"temperature": 1.0}}]}
BLOCKS = {"block": 64, "symmetric": True, "accuracy_level": 0}


@pytest.fixture(scope="module")
def data() -> Data:
    return Data(SPEC, text_split(192, 0), text_split(96, 1), text_split(96, 2))


@pytest.fixture
def context(make_context: Callable[..., Context], data: Data) -> Context:
    return make_context(data, to_onnx=lambda _: encoder_file())


def recover(context: Context, network: nn.Module | None = None, **settings: object) -> Outcome:
    stage = Quantize(
        scheme="weight_int4", weight_only={**BLOCKS, "rounding": "nearest"}, accept_if=None, recover={**RECOVER, **settings}
    )  # fmt: skip
    return stage.run(Candidate(SPEC, network or encoder()), context)


def noise(outcome: Outcome, context: Context) -> float:
    """Squared difference of the outputs to those of the float network, on test."""
    path = outcome.candidate.files["onnxruntime"]
    return float(np.sum(compare_on_split(encoder_file(), path, context.data.test, context.task).noise))


def test_the_file_is_nearer_to_the_float_network_and_as_the_trained_module(context: Context) -> None:
    plain = Quantize(scheme="weight_int4", weight_only=BLOCKS, accept_if=None).run(Candidate(SPEC, encoder()), context)
    before = noise(plain, context)
    outcome = recover(context)

    assert noise(outcome, context) < 0.7 * before
    assert outcome.results["agreement_with_trained"].value == 1.0
    assert outcome.results["epochs"].value == 6
    assert any("linear layers rounded in blocks" in render(note) for note in outcome.notes)
    assert any(name.startswith("recover ") for name in outcome.curves)


def test_a_worse_network_is_not_used(context: Context) -> None:
    plain = Quantize(scheme="weight_int4", weight_only=BLOCKS, accept_if=None).run(Candidate(SPEC, encoder()), context)
    expected = noise(plain, context)
    outcome = recover(context, lr=3.0, epochs=1)
    assert any(note.code == "quantize_ptq.block_recovery_discarded" for note in outcome.notes)
    assert noise(outcome, context) == expected


def _integers(outcome: Outcome) -> dict[str, np.ndarray]:
    """Packed integers by torch layer."""
    graph = graphs.to_ir(onnx_files.load(outcome.candidate.files["onnxruntime"])).graph
    return {node.name.partition("/")[0]: graphs.constant(node.inputs[1]) for node in graph if node.op_type == "MatMulNBits"}


def test_frozen_layers_and_pruned_weights_keep_their_values(context: Context) -> None:
    network = copy.deepcopy(encoder())
    paths = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    frozen, pruned = network.get_submodule(paths[0]), network.get_submodule(paths[-1])
    frozen.requires_grad_(False)
    with torch.no_grad():
        pruned.weight[:, ::2] = 0
    from compress.backends.export_onnx import export_onnx

    path = context.folder / "float.onnx"
    context.folder.mkdir(parents=True, exist_ok=True)
    export_onnx(network, SPEC, path)
    outcome = recover(dataclasses.replace(context, to_onnx=lambda _: path), network, epochs=1)
    rounded = _integers(outcome)  # before the other run writes into the same folder
    alone = Quantize(scheme="weight_int4", weight_only=BLOCKS, accept_if=None).run(
        Candidate(SPEC, network), dataclasses.replace(context, to_onnx=lambda _: path)
    )
    before = _integers(alone)
    assert (rounded[paths[0]] == before[paths[0]]).all()
    assert any((rounded[path] != before[path]).any() for path in paths)
    low = np.asarray(rounded[paths[-1]]) & 15  # of two inputs the first is in the lower half; 8 is the zero point
    columns = low.reshape(len(low), -1)[:, : pruned.in_features // 2]
    assert (columns == 8).all()


def test_shared_and_changed_matrices_are_left_out() -> None:
    model = graphs.to_ir(onnx_files.load(encoder_file()))
    layers = linear_layers(model)
    matched, others = match_layers(model, layers, encoder())
    assert len(matched) == len({layer.key for layer in layers})
    assert others == ()
    changed = copy.deepcopy(encoder())
    path = layers[0].name.partition("/")[0]
    with torch.no_grad():
        changed.get_submodule(path).weight.mul_(2)
    matched, others = match_layers(model, layers, changed)
    assert others == (layers[0].name,)
    assert layers[0].key not in matched


def test_the_reason_of_a_layer_that_is_not_trained_is_told(context: Context) -> None:
    from compress.core.fact import Fact

    fact = Fact.of("quantize_ptq.block_not_trained", "head")
    assert "head" in (render(fact) + render_subject(fact))
