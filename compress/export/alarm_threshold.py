"""`threshold.json`: the score over which a part is defective, chosen with the file that ships on good parts of validation."""

from __future__ import annotations

import json
from pathlib import Path

from compress.core.atomic_files import write_text
from compress.core.stage import Context
from compress.tasks.defect_task import DefectTask

THRESHOLD = "threshold.json"


def write_threshold(folder: Path, file: Path, fallback: Path, context: Context) -> None:
    """Choose the threshold of a file, and write it beside.

    Quantization moves scores, so each file has a threshold of its own. It is measured in ONNX Runtime; other runtimes may give
    slightly other scores.

    Args:
        folder: Of the artifact.
        file: That ships.
        fallback: That is measured where ONNX Runtime here cannot run `file`.
        context: The splits and the task, a `DefectTask`.

    Raises:
        DataError: The validation split has no good part, or scores are not finite.
    """
    from compress.backends.run_split import run_split
    from compress.export.parity import cannot_run_reason

    task = context.task
    assert isinstance(task, DefectTask)  # noqa: S101  # asked by the caller
    measured = fallback if cannot_run_reason(file) else file
    scores = run_split(measured, context.data.validation, task).scores
    point = task.operating_point(scores, context.data.spec.classes)
    write_text(folder / THRESHOLD, json.dumps(point | {"measured_with": f"ONNX Runtime on {measured.name}"}, indent=1))
