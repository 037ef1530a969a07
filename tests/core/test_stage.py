from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from compress.core.network_spec import image_spec
from compress.core.record import Metric
from compress.core.stage import Candidate, Context, Outcome, Stage, missing_metrics

SPEC = image_spec(channels=1, height=8, width=8, mean=(0.0,), std=(1.0,), classes=("a", "b"))


class Scale(Stage):
    factor: float = 1.0

    def run(self, candidate: Candidate, context: Context) -> Outcome:  # noqa: ARG002
        return Outcome(candidate)


class Compressing(Scale):
    compresses: ClassVar = True


def test_a_stage_is_its_parameters_and_no_more() -> None:
    stage = Scale(factor=2.0)
    assert stage.model_dump() == {"factor": 2.0}
    assert stage == Scale(factor=2.0)
    assert "compresses" not in Compressing().model_dump()
    with pytest.raises(ValidationError, match="factr"):
        Scale.model_validate({"factr": 2.0})


def test_by_default_a_stage_has_no_further_inputs_and_fits_every_target(tmp_path: Path) -> None:
    stage = Scale()
    assert (stage.cache_inputs(()), stage.file_hashes(tmp_path)) == ({}, {})
    assert stage.unsupported_reason(()) is None
    assert stage.smoke() is stage


def test_the_form_of_a_candidate_is_that_of_what_it_holds(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(1, 1)
    assert Candidate(SPEC, network).form == "torch"
    assert Candidate(SPEC, network).network() is network
    files = {"onnxruntime": tmp_path / "a.onnx", "openvino": tmp_path / "b.onnx"}
    candidate = Candidate(SPEC, files=files)
    assert candidate.form == "onnx"
    assert candidate.artifact == ("onnxruntime", tmp_path / "a.onnx")
    assert candidate.file_for("openvino") == tmp_path / "b.onnx"


def test_missing_metrics_give_the_reason_for_each() -> None:
    rate = Metric(name="perplexity", label="perplexity", unit="1", higher_is_better=False)
    metrics = missing_metrics("fresh weights", rate)
    assert metrics["perplexity"].unit == "1"
    assert set(metrics) == {"perplexity", "size_bytes", "parameters", "macs", "latency_ms"}
    assert {(quantity.how, quantity.detail, quantity.value) for quantity in metrics.values()} == {
        ("not measured", "fresh weights", None)
    }
