"""Export of a candidate with a file for each runtime, on a machine whose profile names several."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from compress.backends import onnx_session, onnxruntime_runner
from compress.backends import open_runner as opening
from compress.config.devices import Device, host
from compress.core.record import StageRecord
from compress.core.registry import Entry
from compress.core.sentences import render, render_subject
from compress.core.stage import Candidate, Context
from compress.export.infer_script import infer_script
from compress.export.stage import Export
from compress.pipeline.evaluation import evaluate_outcome
from compress.pipeline.stage_output import PendingStage, StageOutput, save_output
from compress.quantize.stage import Quantize
from tests.export.tiny import SPEC


@pytest.fixture
def here() -> Device:
    return host().model_copy(update={"runtimes": ("openvino",)})


@pytest.fixture
def quantized(network: nn.Module, context: Context, here: Device) -> Candidate:
    folder = context.folder.parent / "quantize"
    folder.mkdir()
    given = dataclasses.replace(context, targets=(here,), folder=folder, smoke=True)
    return Quantize(calibration={"method": "minmax"}).run(Candidate(SPEC, network), given).candidate


class Slow(onnxruntime_runner.OnnxRuntimeRunner):
    """Answers like ONNX Runtime, some time later."""

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        time.sleep(0.003)
        return super().run(feeds)


class Off(onnxruntime_runner.OnnxRuntimeRunner):
    """Answers something else."""

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        return [np.ascontiguousarray(array[:, ::-1]) for array in super().run(feeds)]


@pytest.fixture
def as_if(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets runtimes be what a test needs."""

    def put(**classes: type) -> None:
        class Row(Entry):
            def load(self) -> Any:
                return classes[self.name]

        monkeypatch.setattr(opening, "lookup", lambda family, name: Row(family, name, "", ""))

    return put


def exported(candidate: Candidate, context: Context, device: Device) -> Any:
    return Export().run(candidate, dataclasses.replace(context, targets=(device,)))


def test_the_fastest_runtime_ships_with_the_file_made_for_it(
    quantized: Candidate, context: Context, here: Device, as_if: Any
) -> None:
    as_if(onnxruntime=Slow, openvino=onnxruntime_runner.OnnxRuntimeRunner)
    outcome = exported(quantized, context, here)
    assert outcome.candidate.runtimes == {"host": "openvino"}
    assert outcome.candidate.artifact == ("openvino", context.folder / "model.openvino.onnx")
    folder = context.folder / "artifacts" / "host"
    assert (folder / "model.onnx").read_bytes() == quantized.files["openvino"].read_bytes()
    assert (folder / "model.onnx").read_bytes() != quantized.files["onnxruntime"].read_bytes()
    script = (folder / "infer.py").read_text(encoding="utf-8")
    assert "import openvino" in script
    assert "onnxruntime" not in script
    assert "package openvino" in (folder / "LICENCES.md").read_text(encoding="utf-8")
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["runtime"] == "openvino"
    rows = outcome.tables["runtimes"]
    assert [(row["runtime"], row["file"], row["chosen"]) for row in rows] == [
        ("onnxruntime", "model.onnx", False),
        ("openvino", "model.openvino.onnx", True),
    ]
    assert any("host: measured in openvino on model.openvino.onnx" in render(note) for note in outcome.notes)
    assert outcome.tables["parity"][-1]["pair"].startswith("model.openvino.onnx as written → ")


def test_the_profile_s_own_runtime_ships_where_it_is_as_fast(
    quantized: Candidate, context: Context, here: Device, as_if: Any
) -> None:
    as_if(onnxruntime=onnxruntime_runner.OnnxRuntimeRunner, openvino=Slow)
    outcome = exported(quantized, context, here)
    assert outcome.candidate.runtimes == {"host": "onnxruntime"}
    folder = context.folder / "artifacts" / "host"
    assert (folder / "model.onnx").read_bytes() == quantized.files["onnxruntime"].read_bytes()
    assert "import onnxruntime" in (folder / "infer.py").read_text(encoding="utf-8")


def test_a_faster_runtime_with_other_answers_does_not_ship(
    quantized: Candidate, context: Context, here: Device, as_if: Any
) -> None:
    as_if(onnxruntime=Slow, openvino=Off)
    outcome = exported(quantized, context, here)
    assert outcome.candidate.runtimes == {"host": "onnxruntime"}
    assert any("runtime openvino was not chosen: outputs differ" in render(note) for note in outcome.notes)


def test_runtimes_that_cannot_ship_are_told(quantized: Candidate, context: Context, here: Device) -> None:
    device = here.model_copy(update={"runtimes": ("tensorrt", "onnxruntime:qnn")})
    outcome = exported(quantized, context, device)
    left_out = {render_subject(skip): render(skip) for skip in outcome.skipped}
    assert "needs the format 'tensorrt'" in left_out["runtime tensorrt for host"]
    assert "has no QNNExecutionProvider" in left_out["runtime onnxruntime:qnn for host"]
    assert outcome.candidate.runtimes == {"host": "onnxruntime"}


def test_the_choice_outlives_the_stage_and_accuracy_is_that_of_what_ships(
    quantized: Candidate, context: Context, here: Device, as_if: Any, tmp_path: Path
) -> None:
    as_if(onnxruntime=Slow, openvino=onnxruntime_runner.OnnxRuntimeRunner)
    outcome = exported(quantized, context, here)
    save_output(outcome.candidate, context.folder, lambda: None, unchanged=False)  # type: ignore[arg-type, return-value]
    record = StageRecord.model_construct(key="k", name="export", form="onnx", after={})
    link = StageOutput(record, context.folder, lambda: None)  # type: ignore[arg-type, return-value]
    assert link.candidate().runtimes == outcome.candidate.runtimes
    assert link.candidate().artifact == outcome.candidate.artifact
    step = PendingStage(1, "export", "k", {}, lambda: (quantized, ()), Export().run, lambda: None)  # type: ignore[arg-type, return-value]
    result = evaluate_outcome(step, outcome, context, reference=None, unchanged=False)
    assert "model.openvino.onnx in openvino, test split" in result.metrics["accuracy"].detail
    assert result.metrics["size_bytes"].value == quantized.files["openvino"].stat().st_size


def test_versions_of_the_runtimes_enter_the_key(here: Device) -> None:
    both = Export().cache_inputs((here,))
    assert "openvino" in both["host"]
    assert Export().cache_inputs((host(),)) == {"host": "onnxruntime"}


def test_the_openvino_script_runs_alone_and_answers_as_the_file(
    quantized: Candidate, context: Context, here: Device, as_if: Any, tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'compress[openvino]'")
    as_if(onnxruntime=Slow, openvino=onnxruntime_runner.OnnxRuntimeRunner)
    exported(quantized, context, here)
    folder = context.folder / "artifacts" / "host"
    pixels = np.random.default_rng(0).integers(0, 255, (SPEC.height, SPEC.width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "infer.py"), str(tmp_path / "image.png")],
        capture_output=True, text=True, check=True, cwd="/", env={"PYTHONUTF8": "1"},
    )  # fmt: skip
    mean, std = (np.array(values, np.float32) for values in (SPEC.mean, SPEC.std))
    x = ((pixels / np.float32(255) - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
    logits = onnx_session.run(onnx_session.create_session(folder / "model.onnx", optimised=False), x)[0]
    chances = np.exp(logits) / np.exp(logits).sum()
    assert done.stdout.splitlines()[0].split(maxsplit=1)[1] == SPEC.classes[int(chances.argmax())]
    assert float(done.stdout.split("%")[0]) == pytest.approx(100 * chances.max(), abs=5)
    assert len((folder / "infer.py").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize(("runtime", "provider"), [("onnxruntime", "CPU"), ("onnxruntime:cuda", "CUDA")])
def test_a_script_asks_for_the_provider_that_was_chosen(runtime: str, provider: str) -> None:
    script = infer_script(SPEC, runtime=runtime)
    assert f'providers=["{provider}ExecutionProvider"' in script
    assert ("onnxruntime-gpu" in script) == (provider == "CUDA")
    compile(script, "infer.py", "exec")
