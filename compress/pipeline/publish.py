"""Files at the top of a run directory: resolved recipe, record, report, artifacts, and checksums."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from compress.config.yaml_writer import dump
from compress.core.atomic_files import write_text
from compress.core.checksums import CHECKSUMS, changed_files, hash_files, read_checksums, write_checksums
from compress.core.errors import StoreError
from compress.core.language import gettext, language
from compress.core.progress import Reporter
from compress.core.run_directory import ARTIFACTS, RECORD, copy_files, remove_half_written
from compress.core.run_record import RunRecord
from compress.pipeline.read_record import read_record, record_path
from compress.pipeline.report.figures.figure_file import FOLDER
from compress.pipeline.stage_output import StageOutput

RECIPE = "recipe.yaml"
REPORTS = ("report.md", "report.html")


def publish(record: RunRecord, folder: Path, outputs: Sequence[StageOutput], reporter: Reporter) -> tuple[Path, ...]:
    """Write the files if one is missing or changed, or the report is in another language than that in use.

    Args:
        record: The run.
        folder: The run directory.
        outputs: Its finished stages in order, with checked files.
        reporter: Reports changed files.

    Returns:
        Files of the report.
    """
    from compress.pipeline.report.write import write

    text = record.model_dump_json(indent=1)
    changed = changed_files(folder)
    if not changed and _holds(folder / RECORD, text) and _is_in_language(folder / REPORTS[1]):
        return (*(folder / name for name in REPORTS), *sorted((folder / FOLDER).glob("*")))
    if changed and (folder / CHECKSUMS).exists():
        names = ", ".join(changed)
        reporter.line(gettext("{names} changed after the report was written; rewritten", names=names))
    remove_half_written(folder)
    (folder / CHECKSUMS).unlink(missing_ok=True)
    _publish_artifacts(folder, outputs)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    report = write(record, folder)
    write_text(folder / RECIPE, dump(record.recipe))
    write_text(folder / RECORD, text)
    artifacts = [path for path in (folder / ARTIFACTS).rglob("*") if path.is_file()]
    stages = [output.folder / CHECKSUMS for output in outputs]
    write_checksums(folder, hash_files(folder, (*report, *artifacts, *stages, folder / RECIPE, folder / RECORD)))
    return report


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _is_in_language(page: Path) -> bool:
    """Whether the page is in the language in use, by its `lang` attribute; a page from before it has English."""
    with page.open(encoding="utf-8") as file:
        match = re.search(r'<html lang="(\w+)"', file.read(200))
    return (match[1] if match else "en") == language()


def _publish_artifacts(folder: Path, outputs: Sequence[StageOutput]) -> None:
    """Copy the artifacts of the last stage that has some. With links, an edit of an artifact would change other runs."""
    shutil.rmtree(folder / ARTIFACTS, ignore_errors=True)
    for output in reversed(outputs):
        names = [name for name in output.record.files if name.startswith(f"{ARTIFACTS}/")]
        if names:
            inside = [name.removeprefix(f"{ARTIFACTS}/") for name in names]
            copy_files(output.folder / ARTIFACTS, folder / ARTIFACTS, inside)
            return


def rerender_report(run: Path, out: Path | None) -> tuple[Path, ...]:
    """Render the report of a record again.

    Args:
        run: A run directory, or its record.json.
        out: Output folder; by default that of the record.

    Raises:
        StoreError: The record is missing, cannot be read, or its values cannot be drawn.
    """
    from compress.pipeline.report.write import write

    path = record_path(run)
    folder, record = path.parent, read_record(path)
    try:
        report = write(record, out or folder, folder)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # the record may be from elsewhere
        msg = gettext(
            "the values of {path} cannot be drawn: {kind}: {split}",
            path=path,
            kind=type(error).__name__,
            split=" ".join(str(error).split())[:200],
        )
        raise StoreError(msg) from error
    if out is None and (folder / CHECKSUMS).exists():
        write_checksums(folder, read_checksums(folder) | hash_files(folder, report))
    return report
