"""The probe of memory: a peak for each context that never falls, in a process without this package."""

import json
import subprocess
import sys

import pytest

from compress.profile.generation.measure import PROBE


@pytest.mark.parametrize("artifact", ["language_artifact", "response_artifact"])
def test_peaks_never_fall(artifact, request):
    folder = request.getfixturevalue(artifact)[0]
    model = folder / "model.onnx" if artifact == "language_artifact" else folder
    command = [sys.executable, "-P", str(PROBE), str(model), "1", "2", "8", "32"]
    peaks = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert peaks == sorted(peaks)
    assert len(peaks) == 3
    assert 1e7 < peaks[0] < 1e9


def test_the_probe_imports_nothing_of_the_package():
    assert "compress" not in PROBE.read_text()
