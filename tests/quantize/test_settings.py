from __future__ import annotations

import pytest
from pydantic import ValidationError

from compress.quantize.settings import WeightOnlySettings
from compress.quantize.stage import Quantize


@pytest.mark.parametrize("samples", [15, 10_001])
def test_samples_have_limits(samples: int) -> None:
    with pytest.raises(ValidationError, match="samples"):
        Quantize(calibration={"samples": samples})


def test_iterations_without_adaround_are_refused() -> None:
    with pytest.raises(ValidationError, match="iterations applies to rounding: adaround or brecq, not nearest"):
        Quantize(ptq={"weights": {"iterations": 10}})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scheme": "fp16", "recover": {}}, "recover is for static int8, but scheme is fp16"),
        ({"recover": {}, "ptq": {"weights": {"rounding": "adaround"}}}, "undoes ptq.weights.rounding: adaround"),
        (
            {"scheme": "weight_int4", "recover": {}, "weight_only": {"rounding": "awq"}},
            "weight_only.rounding: awq rescales the exported network",
        ),
        ({"scheme": "weight_int4", "recover": {"lora": {"rank": 4}}}, "adapters cannot change weights"),
        ({"scheme": "block_int8", "weight_only": {"eight_bits": ["a"]}}, "all layers of block_int8 have 8 bits"),
        ({"scheme": "block_int8", "mixed": {}}, "mixed is for static int8, but scheme is block_int8"),
        (
            {"scheme": "dynamic_int8", "ptq": {"smooth": 0.5, "equalize": True}},
            "ptq is for static int8, but scheme is dynamic_int8",
        ),
        ({"scheme": "fp16", "ptq": {"smooth": 0.5}}, "ptq.smooth is for static int8, but scheme is fp16"),
        ({"recover": {"precision": "bf16"}}, "recover.precision bf16 is too coarse for fake quantization"),
        ({"recover": {"losses": ["hint", "task"]}}, "recover.losses: hint needs inner features"),
        ({"recover": {"epochs": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Quantize(**given)


def test_a_rounding_in_blocks_is_one_of_the_registry_and_samples_are_for_those_that_need_data() -> None:
    for rounding in ("nearest", "k_quant", "gptq", "awq"):
        assert WeightOnlySettings(rounding=rounding).rounding == rounding
    assert WeightOnlySettings(rounding="awq", samples=64).samples == 64
    with pytest.raises(ValidationError, match="are for rounding: gptq, awq or sign_round, not k_quant"):
        WeightOnlySettings(rounding="k_quant", samples=64)
    with pytest.raises(ValidationError, match="gptq"):
        WeightOnlySettings(rounding="gptp")
