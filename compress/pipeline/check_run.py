"""`compress check`: comparison of the files of a run with their checksums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from compress.core.checksums import CHECKSUMS, has_checksum, read_checksums
from compress.core.errors import StoreError
from compress.core.language import gettext
from compress.core.run_directory import LOCK, PARTIAL, STAGE_FOLDERS
from compress.pipeline.card import write_card
from compress.pipeline.tracking import mlflow_tracker, tensorboard_tracker

WITHOUT_CHECKSUMS = (tensorboard_tracker.FOLDER, mlflow_tracker.STATE, write_card.FOLDER)
"""What `compress` writes beside a run that is no result of it."""


@dataclass(frozen=True)
class RunCheck:
    """Result of a check; all paths are relative to the run directory.

    Attributes:
        intact: Files with their recorded checksum.
        missing: Listed files that are missing, and missing lists.
        changed: Files with another checksum, and lists that cannot be read.
        unfinished: Folders of interrupted stages, which the next run continues.
        unlisted: Files in no list: not written by `compress`, or from an interrupted run.
    """

    intact: tuple[str, ...]
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unfinished: tuple[str, ...]
    unlisted: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether every listed file is intact and every stage is finished."""
        return not (self.missing or self.changed or self.unfinished)


def check_run(run: Path) -> RunCheck:
    """Compare the files of a run, or of one of its stages, with their checksums.

    Raises:
        StoreError: `run` is not a folder with checksums.
    """
    stages = sorted(path for path in run.glob(STAGE_FOLDERS) if path.is_dir())
    unfinished = tuple(path.name for path in stages if path.suffix == PARTIAL)
    sums: dict[str, str] = {}
    unreadable: list[str] = []
    for folder in (run, *(path for path in stages if path.suffix != PARTIAL)):
        prefix = folder.relative_to(run)
        try:
            sums |= {(prefix / name).as_posix(): digest for name, digest in read_checksums(folder).items()}
        except ValueError:
            unreadable.append((prefix / CHECKSUMS).as_posix())
    if not sums:
        msg = gettext("{run} has no {checksums}; use a run directory such as reports/NAME/HASH", run=run, checksums=CHECKSUMS)
        raise StoreError(msg)
    intact = {name for name, digest in sums.items() if has_checksum(run / name, digest)}
    damaged = {*sums, *unreadable} - intact
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    own = {LOCK, *((path.relative_to(run) / CHECKSUMS).as_posix() for path in (run, *stages))}
    others = {*unfinished, *WITHOUT_CHECKSUMS}
    unlisted = {name for name in files - sums.keys() - own if PurePosixPath(name).parts[0] not in others}
    return RunCheck(
        intact=tuple(sorted(intact)),
        missing=tuple(sorted(damaged - files)),
        changed=tuple(sorted(damaged & files)),
        unfinished=unfinished,
        unlisted=tuple(sorted(unlisted)),
    )
