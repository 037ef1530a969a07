"""The run directory: cache keys, atomically written stage folders, the lock, and reuse of finished stages.

    reports/<name>/<digest>/            one run; locked while it runs
        01-distill/                     a finished stage: its files, record.json and SHA256SUMS
        02-prune.partial/               a running stage, which continues after an interruption

The key of a stage is a hash of its parameters, the key of its parent and the package version. A finished stage with an
equal key in any run of the same output folder is checked by its `SHA256SUMS` and reused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from compress import __version__
from compress.core.atomic_files import sha256, write_text
from compress.core.checksums import CHECKSUMS, changed_files, read_checksums, write_checksums
from compress.core.environment import is_main
from compress.core.errors import BusyError, StoreError
from compress.core.language import gettext
from compress.core.record import StageRecord

RECORD = "record.json"
ARTIFACTS = "artifacts"
"""Folder of what ships, in a run directory: one folder for each device."""
SHIPPED_NETWORK = Path(ARTIFACTS, "torch")
"""Folder of the network among the files that ship, relative to a run or an export stage."""
PARTIAL = ".partial"
STAGE_FOLDERS = "[0-9][0-9]-*"
MARKER = ".key"
RETIRED = ".old-"
LOCK = ".lock"
OTHER = "is from other data, another device profile or another version"


def key_of(parts: dict[str, object]) -> str:
    """SHA-256 of the canonical JSON of `parts` and the package version, as 64 hex digits."""
    text = json.dumps({"version": __version__, **parts}, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class RunDirectory:
    """The directory of a run.

    Args:
        out: Folder of all runs.
        name: Name of the recipe.
        digest: Short hash of the resolved recipe.
        reuse: Whether finished stages may be reused.

    Attributes:
        damage: Why the folder of a stage was not used, by stage name.

    Raises:
        StoreError: The folder cannot be created or written to.
    """

    def __init__(self, out: Path, name: str, digest: str, *, reuse: bool = True) -> None:
        self.out = out
        self.path = out / name / digest
        self.reuse = reuse
        self.damage: dict[str, str] = {}
        self._create()

    def _create(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = gettext(
                "cannot create the run folder {path}: {strerror}; choose another with --out",
                path=self.path,
                strerror=error.strerror,
            )
            raise StoreError(msg) from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            msg = gettext("cannot write to the run folder {path}; choose another with --out", path=self.path)
            raise StoreError(msg)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run while the block runs. The first process of a launch locks it for all.

        Raises:
            BusyError: Another process has the lock; the message names it.
        """
        if not is_main():
            yield
            return
        path = self.path / LOCK
        try:
            lock = FileLock(path).acquire(blocking=False)
        except Timeout as error:  # an OSError too
            owner = _lock_owner(path)
            msg = gettext(
                "another run is working in {path} ({owner}); wait for it, stop it, or choose another folder with --out",
                path=self.path,
                owner=owner,
            )
            raise BusyError(msg) from error
        except OSError as error:
            reason = error.strerror or str(error)
            msg = gettext(
                "cannot lock the run folder with {path}: {reason}; remove that file, or choose another folder with --out",
                path=path,
                reason=reason,
            )
            raise StoreError(msg) from error
        with lock:
            if not self.reuse:
                self._retire()
            yield

    def _retire(self) -> None:
        """Move the files of an earlier run aside, so that a fresh run overwrites nothing."""
        earlier = [path for path in self.path.iterdir() if path.name != LOCK]
        if not earlier:
            return
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}{RETIRED}{number}")).exists():
            number += 1
        aside.mkdir()
        for path in earlier:
            path.rename(aside / path.name)

    def folder(self, index: int, name: str) -> Path:
        """The folder of a finished stage."""
        return self.path / stage_folder_name(index, name)

    def find(self, index: int, name: str, key: str) -> StageRecord | None:
        """The record of a finished stage with this key and intact files; it is copied from another run if this run has none.

        A stage folder of this run that is damaged or has another key is removed, with the reason in `damage`.
        """
        own = self.folder(index, name)
        record = validate_stage(own, key)
        if isinstance(record, StageRecord):
            return record
        if own.exists():
            self.damage[name] = record
            shutil.rmtree(own)
        if not self.reuse:
            return None
        for path in self.out.glob(f"*/*/{STAGE_FOLDERS}/{RECORD}"):
            if RETIRED in path.parent.parent.name:
                continue
            record = validate_stage(path.parent, key)
            if isinstance(record, StageRecord):
                copy_stage(path.parent, own)
                return record.model_copy(update={"index": index, "name": name})
        return None

    def own(self, index: int, name: str, key: str) -> StageRecord | None:
        """The record of a finished stage of this run, or None; changes nothing."""
        record = validate_stage(self.folder(index, name), key)
        return record if isinstance(record, StageRecord) else None

    def work_dir(self, index: int, name: str, key: str) -> Path:
        """The folder of a running stage; files of an interrupted attempt with the same key are kept."""
        own = self.folder(index, name)
        partial = own.with_name(own.name + PARTIAL)
        marker = partial / MARKER
        if partial.exists() and not (marker.is_file() and marker.read_bytes() == key.encode()):
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        if is_main():
            remove_half_written(partial)
        if not marker.exists():
            write_text(marker, key)
        return partial

    def commit(self, record: StageRecord) -> StageRecord:
        """Finish a stage: write its record and the checksums of its files, and rename the folder to its final name."""
        own = self.folder(record.index, record.name)
        partial = own.with_name(own.name + PARTIAL)
        remove_half_written(partial)
        paths = {path.relative_to(partial).as_posix(): path for path in sorted(partial.rglob("*")) if path.is_file()}
        hashes = {name: sha256(path) for name, path in paths.items() if name not in (RECORD, MARKER, CHECKSUMS)}
        closed = record.model_copy(update={"files": hashes})
        write_text(partial / RECORD, closed.model_dump_json(indent=1))
        write_checksums(partial, {**hashes, RECORD: sha256(partial / RECORD)})
        partial.rename(own)
        (own / MARKER).unlink(missing_ok=True)
        return closed


def stage_folder_name(index: int, name: str) -> str:
    """Name of the folder of a finished stage."""
    return f"{index:02d}-{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}"


def validate_stage(folder: Path, key: str) -> StageRecord | str:
    """The record in `folder` if its key is `key` and every file has its checksum; else the reason."""
    try:
        text = (folder / RECORD).read_bytes()
        if key.encode() not in text:
            return gettext(OTHER)
        if changed := changed_files(folder):
            return gettext("damaged: {changed} changed after it was written", changed=", ".join(changed))
        record = StageRecord.model_validate_json(text)
    except (OSError, ValueError) as error:  # a ValidationError is a ValueError
        return gettext("cannot be read: {error}", error=error)
    return record if record.key == key else gettext(OTHER)


def copy_stage(source: Path, target: Path) -> None:
    """Copy the files of a finished stage to `target`. With hard links, an edit in one run would change other runs."""
    copy_files(source, target, (*read_checksums(source), CHECKSUMS))


def copy_files(source: Path, target: Path, names: Iterable[str]) -> None:
    """Make `target` a folder with copies of these files of `source` and nothing else."""
    aside = target.with_name(target.name + ".taking")
    shutil.rmtree(aside, ignore_errors=True)
    for name in names:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, aside / name)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)


def remove_half_written(folder: Path) -> None:
    """Remove files of interrupted atomic writes: names that begin with a dot, except marker and lock."""
    for path in folder.rglob(".*"):
        if path.name not in (MARKER, LOCK) and path.is_file():
            path.unlink()


def _lock_owner(path: Path) -> str:
    """The process that has a lock file open, for an error message."""
    import psutil

    path = path.resolve()
    for process in psutil.process_iter():
        try:
            if any(Path(file.path) == path for file in process.open_files()):
                started = datetime.fromtimestamp(process.create_time(), UTC)
                return gettext("process {pid}, since {started:%Y-%m-%d %H:%M:%S} UTC", pid=process.pid, started=started)
        except (psutil.Error, OSError):  # the process ended, or belongs to another user
            continue
    return gettext("a process that cannot be identified")
