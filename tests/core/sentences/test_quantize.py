import json

import pytest

from compress.core.fact import Fact
from compress.core.sentences import render, render_subject

TEST = {
    "accurate": True, "slower": False, "drop": 0.02, "metric": "accuracy", "low": 0.01, "high": 0.03, "max_drop": 0.01,
    "latency_ms": 1.0, "runtime": "onnxruntime", "float_latency_ms": 2.0, "float_runtime": "openvino",
}  # fmt: skip
FORMAT = {"bits": 8, "seven_bit_weights": False, "symmetric": False, "symmetric_chosen_by_runtime": False}
MIXED = {
    "float_layers": ("a", "b"), "layers": 9, "drop": 0.01, "unit": "drop", "budget": 0.02, "cost": 1.0, "within_budget": True,
    "complete": True, "seconds": 60, "trials": 7,
}  # fmt: skip


def text_of(code: str, values: dict[str, object], subject: str = "", **changes: object) -> str:
    fact = Fact.of(f"quantize.{code}", subject, **values | changes)  # type: ignore[arg-type]
    text = render(fact)
    assert render(Fact.model_validate(json.loads(fact.model_dump_json()))) == text
    return text


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "passed"),
        (
            {"accurate": False},
            "failed: the quantized network has a worse accuracy, by 0.0200 (0.0100 to 0.0300), more than the allowed 0.01",
        ),
        ({"slower": True}, "failed: the quantized network is slower"),
        ({"accurate": False, "slower": True}, "the allowed 0.01 and is slower"),
    ],
)
def test_a_failed_acceptance_test_says_why(changes: dict[str, object], verdict: str) -> None:
    text = text_of("acceptance", TEST, **changes)
    assert f"{verdict}; the quantized network takes 1 ms in onnxruntime, the float network 2 ms in openvino" in text


@pytest.mark.parametrize(
    ("runtime", "changes", "text"),
    [
        ("onnxruntime", {}, "onnxruntime: uint8 activations, 8-bit weights"),
        ("onnxruntime", {"symmetric": True}, "onnxruntime: symmetric int8 activations, 8-bit weights"),
        ("onnxruntime", {"bits": 4}, "uint8 activations, 4-bit weights stored as int8, because no runtime has kernels"),
        ("onnxruntime", {"seven_bit_weights": True}, "7-bit weights, because this CPU has no VNNI"),
        (
            "openvino",
            {"symmetric_chosen_by_runtime": True},
            "symmetric int8 for the input, and for all activations of a network with layer normalisation",
        ),
        ("tensorrt", {}, "not run on this machine"),
    ],
)
def test_the_numeric_format_is_that_of_the_runtime(runtime: str, changes: dict[str, object], text: str) -> None:
    assert text in text_of("numeric_format", FORMAT, runtime, **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "2 of 9 layers in float (a, b), drop 0.0100; the budget of 0.02 is met; 7 trials"),
        ({"unit": "bytes", "cost": 12000.0, "budget": 9000.0}, "12,000 bytes; the budget of 9,000 bytes is met"),
        ({"unit": "ms", "budget": 2.0}, "drop 0.0100, 1 ms measured at the end; the budget of 2 ms is met"),
        ({"within_budget": False}, "is not met by any trial, and this is the best one"),
        ({"complete": False}, "7 trials; the search ended after 60 s"),
        ({"float_layers": ()}, "0 of 9 layers in float (none)"),
    ],
)
def test_mixed_precision_has_the_unit_of_its_budget(changes: dict[str, object], text: str) -> None:
    assert text in text_of("mixed_precision", MIXED, **changes)


@pytest.mark.parametrize(
    ("source", "text"), [("Softmax", "the result of Softmax head in float"), ("", "the network's input in float")]
)
def test_what_is_read_in_float_is_named(source: str, text: str) -> None:
    assert text_of("float_input", {"source_operator": source, "source": "head"}) == f"it reads {text}"


def test_an_operator_without_a_name_is_named_by_its_kind() -> None:
    assert render_subject(Fact.of("quantize.float_no_bfloat16", "", operator="Erf")) == "Erf"
