"""`infer.py` of networks of audio: the answers of Python for a file, and faulty files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from compress.backends.export_onnx import export_onnx
from compress.data.audio.decode_audio import read_audio
from compress.data.audio.settings import AudioSettings
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.export import ship_onnx
from compress.export.manifest import write_labels, write_manifest
from compress.export.run_artifact import is_own_script, read_spec, run_artifact
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.audio.speech_ctc import SpeechCtc
from compress.tasks.ctc_decoding import greedy_texts
from tests.data.audio.files import tone
from tests.data.audio.files import write_manifest as write_clips

AUDIO = AudioSettings(rate=8000, typical=0.3, most=1.0, targets="transcripts")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """A network with new weights, and the folder of its artifact."""
    folder = tmp_path_factory.mktemp("artifact")
    data = load_data(DataSettings(source=f"audio_manifest:{write_clips(folder)}", audio=AUDIO), base=folder)
    task = SpeechCtc()
    spec = task.complete_spec(data.spec)
    settings = ModelSettings(source="ctc:quartznet", args={"width": 8, "kernels": [5]})
    module = build_model(settings, spec, seed=0, base=folder, task=task).module.eval()
    export_onnx(module, spec, folder / "net.onnx", split=data.validation)
    ship_onnx.write(folder / "net.onnx", folder / "host", spec, code=task.infer_code)
    write_labels(folder / "host", spec)
    write_manifest(folder / "host", spec, device="host", runtime="onnxruntime")
    return spec, module, folder / "host"


def printed(folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "infer.py", str(path)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("suffix", "rate", "channels"), [(".wav", 8000, 1), (".flac", 16_000, 2)])
def test_the_text_is_that_of_python(artifact, tmp_path, suffix, rate, channels):
    spec, module, folder = artifact
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, np.stack([tone(0.6, rate)] * channels, axis=1), rate)
    wave = torch.from_numpy(read_audio(path, 8000))[None]
    with torch.no_grad():
        logits = module(wave, torch.ones_like(wave, dtype=torch.int64)).numpy()
    done = printed(folder, path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n") == greedy_texts(logits, spec.classes)[0].rstrip("\n")


def test_faulty_files_are_told_without_a_traceback(artifact, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"nothing")
    soundfile.write(tmp_path / "long.wav", tone(2.0), 8000)
    soundfile.write(tmp_path / "short.wav", tone(0.01), 8000)
    for name, reason in (
        ("a.wav", "no audio"),
        ("long.wav", "it has 2.0 s, the network takes 1 s"),
        ("short.wav", "it has 0.010 s, the network needs 0.05 s"),
        ("none.wav", "No such file"),
    ):
        done = printed(artifact[2], tmp_path / name)
        assert done.returncode == 1
        assert reason in done.stderr
        assert "Traceback" not in done.stderr


def test_the_script_is_short_and_known_and_runs_by_the_package(artifact, tmp_path):
    _, _, folder = artifact
    assert len((folder / "infer.py").read_text(encoding="utf-8").splitlines()) < 130
    assert is_own_script(folder)
    spec = read_spec(folder / "model.onnx")
    assert spec.audio is not None
    assert spec.audio.rate == 8000
    soundfile.write(tmp_path / "a.wav", tone(), 8000)
    (found,) = run_artifact(folder, tmp_path / "a.wav")
    assert found is not None
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert "resampled to 8000 Hz by scipy.signal.resample_poly" in manifest["preprocessing"]


def test_a_script_is_written_without_soundfile(monkeypatch):
    import sys

    from compress.export.infer_audio import _decoding_source

    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.delitem(sys.modules, "compress.data.audio.decode_audio", raising=False)
    assert "def read_audio(" in _decoding_source()
