"""Stages that all trials of a search share: each is computed once, by one worker, and stays where it is.

reports/<name>.stages/<key>/02-prune/       a finished stage; `compress pipeline` finds it there, too
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock

from compress.core.record import StageRecord
from compress.core.run_directory import (
    LOCK,
    RECORD,
    RETIRED,
    STAGE_FOLDERS,
    RunDirectory,
    copy_stage,
    stage_folder_name,
    validate_stage,
)

STAGES = ".stages"
KEY_LENGTH = 20


class SharedStages(RunDirectory):
    """The stages of one trial, in the folder that all trials share.

    Args:
        out: Folder of all runs.
        name: Name of the recipe.
        study: Name of the folder of the study.

    Attributes:
        computed_s: Wall time of the stages that this trial computed, by name.
    """

    def __init__(self, out: Path, name: str, study: str) -> None:
        super().__init__(out, name, study)
        self.store = out / f"{name}{STAGES}"
        self.computed_s: dict[str, float] = {}
        self._keys: dict[tuple[int, str], str] = {}
        self._lock: BaseFileLock | None = None

    def folder(self, index: int, name: str) -> Path:
        """The folder of a stage whose key is known."""
        return self.store / self._keys[index, name][:KEY_LENGTH] / stage_folder_name(index, name)

    def find(self, index: int, name: str, key: str) -> StageRecord | None:
        """The record of a finished stage with this key. Without one the stage is locked until `commit` or `close`.

        While another worker computes it, this one waits.
        """
        self._keys[index, name] = key
        own = self.folder(index, name)
        if (record := self.own(index, name, key)) is not None:
            return record
        own.parent.mkdir(parents=True, exist_ok=True)
        self.close()
        self._lock = FileLock(own.parent / LOCK)
        self._lock.acquire()
        found = validate_stage(own, key)
        if not isinstance(found, StageRecord) and own.exists():
            self.damage[name] = found
            shutil.rmtree(own)
        record = found if isinstance(found, StageRecord) else self._take_over(index, name, key)
        if record is not None:
            self.close()
        return record

    def commit(self, record: StageRecord) -> StageRecord:
        """Finish a stage, and release it for other workers."""
        closed = super().commit(record)
        self.computed_s[record.name] = self.computed_s.get(record.name, 0.0) + record.wall_time_s
        self.close()
        return closed

    def close(self) -> None:
        """Release a stage that was not finished."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take_over(self, index: int, name: str, key: str) -> StageRecord | None:
        """A copy of the stage from another run or another search."""
        for folder in self._elsewhere(index, name, key):
            record = validate_stage(folder, key)
            if isinstance(record, StageRecord):
                copy_stage(folder, self.folder(index, name))
                return record.model_copy(update={"index": index, "name": name})
        return None

    def _elsewhere(self, index: int, name: str, key: str) -> Iterator[Path]:
        for folder in self.out.iterdir():
            if folder == self.store or folder.is_symlink():
                continue
            if folder.name.endswith(STAGES):
                yield folder / key[:KEY_LENGTH] / stage_folder_name(index, name)
            elif folder.is_dir():
                records = folder.glob(f"*/{STAGE_FOLDERS}/{RECORD}")
                yield from (record.parent for record in records if RETIRED not in record.parent.parent.name)
