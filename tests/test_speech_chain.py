"""Speech through the whole chain, by a recipe, from audio files to an artifact that writes the text of a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from compress import Pipeline
from tests.data.audio.files import write_manifest

QUICK = {"epochs": 1, "batch_size": 8, "lr": 0.003}
SMALL = {"source": "ctc:quartznet", "args": {"width": 8, "kernels": [5], "bands": 12, "causal": True}}


def recipe(folder: Path) -> dict[str, Any]:
    write_manifest(folder, 40)
    return {
        "name": "speech",
        "task": "speech_ctc",
        "data": {
            "source": "audio_manifest:clips.jsonl",
            "labelled": 16,
            "audio": {"rate": 8000, "typical": 0.3, "most": 1.0},
        },
        "teacher": {"source": "ctc:quartznet", "args": {"width": 12, "kernels": [5], "bands": 12}, "train": QUICK},
        "model": SMALL,
        "stages": [
            {"distill": {**QUICK, "losses": [{"ctc_posteriors": {"kind": "guided"}}, {"ctc_posteriors": {}}, {"task": {}}]}},
            {"quantize": {"scheme": "int8", "keep_float": ["features*"], "accept_if": {"keep": "quantized", "seconds": 0.05}}},
            "export",
        ],
        "budget": {"size_mb": 1.0},
    }


@pytest.mark.slow
def test_a_student_learns_with_few_transcripts_and_its_artifact_writes_the_same_text_in_a_stream(tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(tmp_path)), encoding="utf-8")
    result = Pipeline.load(tmp_path / "recipe.yaml").run(out=tmp_path, device="cpu")
    record = result.record
    assert (record.metric.name, record.metric.higher_is_better) == ("wer", False)
    assert [stage.name for stage in record.stages] == ["distill", "quantize", "export"]
    for stage in record.stages:
        assert stage.after["wer"].value is not None
    artifact = next(result.folder.rglob("manifest.json")).parent
    texts = []
    for script in ("infer.py", "stream.py"):
        command = [sys.executable, script, str(tmp_path / "003.wav")]
        texts.append(subprocess.run(command, cwd=artifact, capture_output=True, text=True, check=True).stdout)
    assert texts[0] == texts[1]
    assert "export.streaming" in {note.code for note in record.stages[-1].notes}
