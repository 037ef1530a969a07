"""The record of a finished run, checked against the checksums beside it."""

from __future__ import annotations

from pathlib import Path

from compress.core.checksums import CHECKSUMS, changed_files, has_checksum, read_checksums
from compress.core.errors import StoreError
from compress.core.language import gettext
from compress.core.run_directory import ARTIFACTS, RECORD
from compress.core.run_record import RunRecord


def record_path(run: Path) -> Path:
    """The record of a run directory; a file is taken for the record itself."""
    return run / RECORD if run.is_dir() else run


def read_record(run: Path) -> RunRecord:
    """The record of a run, checked against the checksums beside it where there are any.

    Args:
        run: A run directory, or its record.

    Raises:
        StoreError: There is none, it cannot be read, or it is not the one that was written.
    """
    path = record_path(run)
    try:
        sums = read_checksums(path.parent) if (path.parent / CHECKSUMS).exists() else {}
        record = RunRecord.load(path)
    except OSError as error:
        raise StoreError(
            gettext(
                "no record at {path}: {strerror}; give a run directory such as reports/NAME/HASH",
                path=path,
                strerror=error.strerror,
            )
        ) from error
    except ValueError as error:  # damaged checksums, bytes that are no text, or pydantic's ValidationError
        raise StoreError(
            gettext("{path} is not a run's record: {split}", path=path, split=" ".join(str(error).split())[:200])
        ) from error
    if RECORD in sums and not has_checksum(path, sums[RECORD]):
        raise StoreError(
            gettext("{path} was changed since it was written; run its recipe again, which writes it anew", path=path)
        )
    return record


def unverified(run: Path) -> str:
    """Says that a record has no checksum beside it, so that an edit of it goes unnoticed; empty where it has one.

    Args:
        run: A run directory, or its record, which `read_record` has read.
    """
    path = record_path(run)
    if (path.parent / CHECKSUMS).exists() and path.name in read_checksums(path.parent):
        return ""
    return gettext("{path}: unverified, without a checksum in {checksums} beside it", path=path, checksums=CHECKSUMS)


def check_artifacts(run: Path) -> None:
    """Check that the artifacts of a run directory are those that its record is of; nothing where there are none beside it.

    Args:
        run: A run directory, or its record.

    Raises:
        StoreError: A file of an artifact is missing or was changed.
    """
    if not (run / ARTIFACTS).is_dir() or not (run / CHECKSUMS).exists():
        return
    changed = [name for name in changed_files(run) if name.startswith((f"{ARTIFACTS}/", CHECKSUMS))]
    if changed:
        msg = gettext(
            "{run} is missing or was changed since it was measured; run its recipe again, which writes it anew",
            run=run / changed[0],
        )
        raise StoreError(msg)
