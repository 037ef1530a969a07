"""Files at the top of a run directory: resolved recipe, record, report and the artifacts that ship."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from compress.config.yaml_lines import dump
from compress.core.atomic_files import write_text
from compress.core.errors import StoreError
from compress.core.record import RunRecord
from compress.core.run_directory import RECORD, hardlink_stage
from compress.pipeline.stage_output import StageOutput

ARTIFACTS = "artifacts"


def publish(record: RunRecord, folder: Path, outputs: Sequence[StageOutput]) -> tuple[Path, ...]:
    """Write the files that are missing or have changed.

    Returns:
        The report's files.
    """
    text = record.model_dump_json(indent=1)
    expected = (folder / "report.md", folder / "report.html")
    target = folder / RECORD
    if target.exists() and target.read_text(encoding="utf-8") == text and all(path.exists() for path in expected):
        return (*expected, *sorted((folder / "figures").glob("*.png")))
    artifacts = next((o.folder / ARTIFACTS for o in reversed(outputs) if (o.folder / ARTIFACTS).is_dir()), None)
    if artifacts:
        shutil.rmtree(folder / ARTIFACTS, ignore_errors=True)
        hardlink_stage(artifacts, folder / ARTIFACTS)
    from compress.pipeline.report.write import write

    report = write(record, folder)
    write_text(folder / "recipe.yaml", dump(record.recipe))
    write_text(target, text)
    return report


def rerender_report(run: Path, out: Path | None) -> tuple[Path, ...]:
    """Render the report of a record again.

    Args:
        run: A run directory, or its record.json.
        out: Folder to write into; the record's own when None.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    from pydantic import ValidationError

    from compress.pipeline.report.write import write

    path = run / RECORD if run.is_dir() else run
    try:
        record = RunRecord.load(path)
    except OSError as error:
        raise StoreError(f"no record at {path}: {error.strerror}; give a run directory such as reports/NAME/HASH") from error
    except ValidationError as error:
        first = error.errors()[0]["msg"]
        raise StoreError(f"{path} is not a run's record: {error.error_count()} faults, first: {first}") from error
    return write(record, out or path.parent, path.parent)
