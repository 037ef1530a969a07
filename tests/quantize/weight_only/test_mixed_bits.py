"""Layers of 8 bits among layers of 4: by name, and by the search for mixed precision."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.compare_on_split import compare_on_split
from compress.core.errors import ConversionError
from compress.core.sentences import render
from compress.core.stage import Candidate, Context, Outcome
from compress.data.interface import Data
from compress.quantize.schemes import SchemeOptions, build_models
from compress.quantize.stage import Quantize
from compress.quantize.weight_only.head_and_tables import HeadAndTables
from compress.quantize.weight_only.matmul_nbits import linear_layers
from compress.quantize.weight_only.mixed_bits import MixedBitsPlan
from tests.quantize.encoder import SPEC, encoder, encoder_file, text_split

BLOCKS = {"block": 64, "symmetric": True, "accuracy_level": 0}


@pytest.fixture
def context(make_context: Callable[..., Context]) -> Context:
    return make_context(Data(SPEC, text_split(64, 0), text_split(96, 1), text_split(96, 2)), to_onnx=lambda _: encoder_file())


def bits_of(proto: onnx.ModelProto) -> dict[str, int]:
    """Bits of the products by name."""
    return {
        node.name: next(attribute.i for attribute in node.attribute if attribute.name == "bits")
        for node in proto.graph.node
        if node.op_type == "MatMulNBits"
    }


def quantize(context: Context, blocks: dict[str, object] | None = None, **settings: object) -> tuple[Outcome, dict[str, int]]:
    stage = Quantize(scheme="weight_int4", weight_only={**BLOCKS, **(blocks or {})}, accept_if=None, **settings)
    outcome = stage.run(Candidate(SPEC, encoder()), context)
    return outcome, bits_of(onnx_files.load(outcome.candidate.files["onnxruntime"]))


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_layers_by_name_have_8_bits(context: Context, rounding: str) -> None:
    names = [layer.name for layer in linear_layers(graphs.to_ir(onnx_files.load(encoder_file())))]
    more = {"samples": 8} if rounding == "gptq" else {}
    _, bits = quantize(context, {"eight_bits": [names[0], names[3]], "rounding": rounding, **more})
    assert bits == {name: 8 if name in (names[0], names[3]) else 4 for name in names}


def test_a_glob_that_matches_nothing_is_an_error(context: Context) -> None:
    with pytest.raises(ConversionError, match=r"weight_only.eight_bits: 'nothing\*' matches no node"):
        quantize(context, {"eight_bits": ["nothing*"]})


def test_the_search_takes_the_layers_that_bring_the_loss_within_the_limit(context: Context) -> None:
    def loss(outcome: Outcome) -> float:
        path = outcome.candidate.files["onnxruntime"]
        comparison = compare_on_split(encoder_file(), path, context.data.validation, context.task)
        return context.task.deciding.value(comparison.reference) - context.task.deciding.value(comparison.other)

    plain, _ = quantize(context)
    assert loss(plain) > 0.015, "the encoder loses too little in 4 bits for this test"
    outcome, bits = quantize(context, mixed={"accuracy_drop": 0.01, "seconds": 60})
    assert loss(outcome) <= 0.01
    assert 0 < sum(each == 8 for each in bits.values()) < len(bits)
    assert set(bits.values()) == {4, 8}
    assert len(outcome.tables["sensitivity"]) == len(bits)
    assert any("layers in 8 bits" in render(note) for note in outcome.notes)


def test_a_plan_builds_what_the_options_say() -> None:
    model = graphs.to_ir(onnx_files.load(encoder_file()))
    names = [layer.name for layer in linear_layers(model)]
    options = SchemeOptions(block=64, eight_bits=names[:1], exclude=names[1:2], parts=HeadAndTables(None, None))
    plan = MixedBitsPlan(model, options)
    built = plan.build("onnxruntime", (*options.exclude, *plan.fixed, names[4]), SPEC)
    direct = build_models(
        "weight_int4", model, ("onnxruntime",), SchemeOptions(block=64, eight_bits=[names[0], names[4]], exclude=names[1:2])
    ).models["onnxruntime"]
    assert bits_of(built) == bits_of(direct)
    by_name = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in direct.graph.initializer}
    for tensor in built.graph.initializer:
        assert (onnx.numpy_helper.to_array(tensor) == by_name[tensor.name]).all()
