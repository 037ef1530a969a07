"""`threshold.json`: the score above which a part counts as defective, or a frame as speech, from the validation split."""

from __future__ import annotations

import json
from pathlib import Path

from compress.core.atomic_files import write_text
from compress.core.stage import Context
from compress.tasks.operating_point import HasOperatingPoint

THRESHOLD = "threshold.json"


def write_threshold(folder: Path, file: Path, fallback: Path, context: Context) -> None:
    """Choose the threshold of a file and write it to the artifact.

    Quantization changes the scores, so each file has its own threshold. The scores are those of ONNX Runtime; those of other
    runtimes may differ slightly.

    Args:
        folder: Folder of the artifact.
        file: File of the artifact.
        fallback: File to use if ONNX Runtime cannot run `file` on this machine.
        context: Data splits and the task.

    Raises:
        DataError: The validation split has nothing to choose it on, or scores are not finite.
    """
    from compress.backends.run_split import run_split
    from compress.export.parity import cannot_run_reason

    task = context.task
    assert isinstance(task, HasOperatingPoint)  # noqa: S101  # checked by the caller
    measured = fallback if cannot_run_reason(file) else file
    scores = run_split(measured, context.data.validation, task).scores
    point = task.operating_point(scores, context.data.spec.classes)
    write_text(folder / THRESHOLD, json.dumps({**point, "measured_with": f"ONNX Runtime on {measured.name}"}, indent=1))
