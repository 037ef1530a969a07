from __future__ import annotations

import pytest
from pydantic import ValidationError

from compress.quantize.stage import Quantize
from tests.export.tiny import Target

JETSON = Target("jetson", "tensorrt")


def test_surroundings_are_json_and_tell_targets_apart() -> None:
    assert Quantize().cache_inputs((JETSON,)) != Quantize().cache_inputs(())


def test_stage_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import compress.quantize.stage, compress.export.stage, sys;"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    "extra", [{"calibration": {"samples": 64}}, {"ptq": {"equalize": True}}, {"mixed": {}}, {"symmetric": True}]
)
def test_what_only_static_int8_has_is_refused_elsewhere(extra: dict) -> None:
    with pytest.raises(ValidationError, match="is for static int8, but scheme is fp16"):
        Quantize(scheme="fp16", **extra)
