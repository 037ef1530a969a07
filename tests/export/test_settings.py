from __future__ import annotations

import pytest
from pydantic import ValidationError

from compress.export.settings import ExportTarget, Tolerance


@pytest.mark.parametrize(
    ("runtime", "family", "kind"),
    [
        ("onnxruntime", "onnxruntime", "onnx"),
        ("onnxruntime:CUDAExecutionProvider", "onnxruntime", "onnx"),
        ("tensorrt", "tensorrt", "tensorrt"),
        ("unknown:provider", "unknown", None),
    ],
)
def test_format_is_that_of_the_runtime_without_its_provider(runtime: str, family: str, kind: str | None) -> None:
    target = ExportTarget("device", runtime)
    assert (target.family, target.format) == (family, kind)


@pytest.mark.parametrize("settings", [{"relative": -0.1}, {"absolute": -1}, {"fused": -1}, {"top1": 1.1}, {"other": 1}])
def test_tolerances_outside_their_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        Tolerance(**settings)
