from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compress.config.devices import load_device
from compress.core.errors import ConversionError
from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.sentences import render
from compress.core.stage import Candidate, Context, Outcome
from compress.data.interface import Data
from compress.quantize.choose_scheme import OF_TEXT_WRITERS, choose_scheme, tries_schemes, with_scheme
from compress.quantize.stage import Quantize
from tests.export.tiny import SPEC as IMAGES
from tests.export.tiny import split
from tests.quantize.encoder import SPEC


@pytest.fixture
def here(make_context: Callable[..., Context]) -> Context:
    return make_context(Data(IMAGES, split(4, 0), split(4, 1), split(4, 2)), targets=(load_device("host"),))


def outcome(speedup: float, drop: float, *, passed: bool = True) -> Outcome:
    results = {
        name: Quantity.measured(value, "1", "x", interval=(value, value), runs=9)
        for name, value in (("acceptance_speedup", speedup), ("acceptance_drop", drop), ("size_ratio", 0.25))
    }
    return Outcome(Candidate(SPEC), results=results, warnings=() if passed else (Fact.of("quantize.acceptance"),))


def test_the_fastest_scheme_that_passed_is_chosen(here: Context) -> None:
    results = {"dynamic_int8": outcome(1.5, 0.01), "int8": outcome(1.8, 0.2, passed=False), "weight_int4": outcome(1.2, 0.0)}
    stages: list[Quantize] = []

    def quantize(stage: Quantize, candidate: Candidate, context: Context) -> Outcome:
        (context.folder / "model.onnx").write_bytes(b"x")
        stages.append(stage)
        return results[stage.scheme]

    chosen, rows, (fact,) = choose_scheme(Quantize(keep_float=("head*",)), Candidate(SPEC), here, quantize)
    assert (chosen.scheme, chosen.keep_float) == ("dynamic_int8", ("head*",))
    assert [(row["scheme"], row["passed"], row["speedup"]["value"]) for row in rows] == [
        ("dynamic_int8", True, 1.5),
        ("int8", False, 1.8),
        ("weight_int4", True, 1.2),
    ]
    assert render(fact).startswith("scheme dynamic_int8 is the fastest that passed")
    assert [stage.ptq.smooth for stage in stages] == [None, 0.5, None]
    assert all(stage.accept_if is not None and stage.accept_if.keep == "quantized" for stage in stages)
    assert chosen.accept_if is not None
    assert chosen.accept_if.keep == "better"
    assert list(here.folder.iterdir()) == []


def test_candidates_for_text_writers_smooth_activations_and_compensate_rounding() -> None:
    stages = {scheme: with_scheme(Quantize(), scheme, writes_text=True) for scheme in OF_TEXT_WRITERS}
    assert {scheme: stage.ptq.smooth for scheme, stage in stages.items()} == {
        "dynamic_int8": 0.65, "weight_int4": None, "block_int8": None,
    }  # fmt: skip
    assert stages["weight_int4"].weight_only.rounding == "gptq"
    assert with_scheme(Quantize(), "weight_int4").weight_only.rounding == "nearest"


def test_without_one_that_passes_the_most_accurate_takes_the_test_again(here: Context) -> None:
    results = {"dynamic_int8": outcome(1.5, 0.1, passed=False), "weight_int4": outcome(0.9, 0.05, passed=False)}

    def quantize(stage: Quantize, candidate: Candidate, context: Context) -> Outcome:
        if stage.scheme == "int8":
            msg = "cannot be calibrated"
            raise ConversionError(msg)
        return results[stage.scheme]

    chosen, rows, facts = choose_scheme(Quantize(), Candidate(SPEC), here, quantize)
    assert chosen.scheme == "weight_int4"
    assert len(rows) == 2
    assert [fact.code for fact in facts] == ["quantize.scheme_failed", "quantize.scheme_chosen"]
    assert "none of the schemes" in render(facts[1])


def test_prompts_and_tokens_of_each_scheme_stand_beside_those_of_the_float_network(here: Context) -> None:
    def times(name: str, request: float) -> dict[str, object]:
        quantity = Quantity.measured(request, "ms").model_dump(mode="json")
        return {"network": name, "request_ms": quantity, "time_to_first_token_ms": quantity, "token_p50_ms": quantity}

    def quantize(stage: Quantize, candidate: Candidate, context: Context) -> Outcome:
        request, changed = {"dynamic_int8": (2.0, 0.1), "int8": (9.0, 0.0), "weight_int4": (1.0, 0.2)}[stage.scheme]
        found = outcome(10.0 / request, 0.0)
        note = Fact.of("quantize.blocks", bits=4, block=128, accuracy_level=4)
        return replace(
            found,
            results={**found.results, "changed_tokens": Quantity.measured(changed, "fraction")},
            notes=(note,) if stage.scheme == "weight_int4" else (),
            tables={"serving": (times("float", 10.0), times("quantized", request))},
        )

    chosen, rows, _ = choose_scheme(Quantize(), Candidate(SPEC), here, quantize)
    assert [(row["scheme"], row["request_ms"]["value"]) for row in rows] == [
        ("float", 10.0), ("dynamic_int8", 2.0), ("int8", 9.0), ("weight_int4", 1.0),
    ]  # fmt: skip
    assert [row["changed_tokens"]["value"] for row in rows[1:]] == [0.1, 0.0, 0.2]
    assert (chosen.scheme, chosen.weight_only.block, chosen.weight_only.accuracy_level) == ("weight_int4", 128, 4)


def test_only_networks_with_free_axes_timed_here_try_schemes(here: Context) -> None:
    text, image = Candidate(SPEC), Candidate(IMAGES, files={"onnxruntime": Path("x.onnx")})
    assert tries_schemes(Quantize(), text, here)
    assert not tries_schemes(Quantize(), image, here)
    assert not tries_schemes(Quantize(scheme="int8"), text, here)
    assert not tries_schemes(Quantize(ptq={"smooth": 0.3}), text, here)
    assert not tries_schemes(Quantize(accept_if=None), text, here)
    assert not tries_schemes(Quantize(), text, replace(here, smoke=True))
    assert not tries_schemes(Quantize(), text, replace(here, targets=()))
