"""Storages of a study: a journal file, or a database by its URL. A storage that goes away is waited for."""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from filelock import FileLock

from compress.core.errors import MissingPackageError, StoreError
from compress.core.language import gettext
from compress.core.progress import NullReporter, Reporter

EXTRA = "search"
LONGEST_WAIT_S = 24 * 3600.0
LONGEST_PAUSE_S = 30.0
OPEN_WAIT_S = 5.0
"""Time for a server to answer at the start of a command, which may name the wrong one, s."""
CALLS = (
    "create_new_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "create_new_trial",
    "set_trial_param",
    "get_trial_id_from_study_id_trial_number",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    "get_all_trials",
)
"""Methods of a storage that reach it."""


class ReleasedLock:
    """Lock of a journal file that the system releases when its owner is killed. Optuna's own is kept for 30 s.

    Args:
        path: The lock file.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, thread_local=False)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Release it."""
        self._lock.release()


def import_optuna() -> Any:
    """The package `optuna`, without its lines on the terminal.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingPackageError("optuna", EXTRA, "search") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_storage(
    url: str,
    *,
    reporter: Reporter | None = None,
    longest_wait_s: float = LONGEST_WAIT_S,
    open_wait_s: float = OPEN_WAIT_S,
) -> Any:
    """Open a storage.

    Args:
        url: Path of a journal file, or `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        reporter: Reports a storage that is waited for.
        longest_wait_s: Time after which a storage that went away is given up.
        open_wait_s: Time after which a server that does not answer at the start is given up.

    Raises:
        MissingPackageError: A package is not installed.
        StoreError: It cannot be reached.
    """
    optuna = import_optuna()
    try:
        storage = _open_patiently(optuna, url, open_wait_s) if "://" in url else _open_journal(optuna, Path(url))
    except _lost(optuna) + (ImportError, KeyError, ValueError) as error:  # noqa: RUF005  # mypy reads it so
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        msg = gettext(
            "cannot open the storage {url}: {reason}; give a file, sqlite:///FILE or postgresql://USER@HOST/NAME, and check "
            "that the server runs",
            url=without_password(url),
            reason=reason,
        )
        raise StoreError(msg) from error
    return _waiting(storage, optuna, without_password(url), reporter or NullReporter(), longest_wait_s)


def without_password(url: str) -> str:
    """A URL as messages show it."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _open_journal(optuna: Any, path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = ReleasedLock(path.with_name(path.name + ".flock"))
    lock.acquire()
    try:
        _drop_half_line(path)
    finally:
        lock.release()
    backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock)
    return optuna.storages.JournalStorage(backend)


def _drop_half_line(path: Path) -> None:
    """Remove the last line of a journal if a full disk or a power failure cut it."""
    if not path.exists():
        return
    contents = path.read_bytes()
    if contents and not contents.endswith(b"\n"):
        with path.open("rb+") as file:
            file.truncate(contents.rfind(b"\n") + 1)


def _open_patiently(optuna: Any, url: str, open_wait_s: float) -> Any:
    """Open a database, whose server may be starting up."""
    end_s = time.monotonic() + open_wait_s
    while True:
        try:
            return _open_database(optuna, url)
        except _lost(optuna):
            if time.monotonic() > end_s:
                raise
            time.sleep(0.5)


def _open_database(optuna: Any, url: str) -> Any:
    kind, _, rest = url.partition("://")
    if kind in ("postgresql", "postgres"):
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise MissingPackageError("psycopg", f"{EXTRA}-postgresql", f"{kind}://") from error
        url = f"postgresql+psycopg://{rest}"
    options = {"pool_pre_ping": True} | ({"connect_args": {"timeout": 60}} if kind == "sqlite" else {})
    database = optuna.storages.RDBStorage(url, engine_kwargs=options)
    weakref.finalize(database, database.engine.dispose)  # its pool would leave its connections open
    return optuna.storages.get_storage(database)


def _lost(optuna: Any) -> tuple[type[BaseException], ...]:
    """Errors of a storage that cannot be reached."""
    errors: tuple[type[BaseException], ...] = (OSError, optuna.exceptions.StorageInternalError)
    with suppress(ImportError):
        from sqlalchemy.exc import DBAPIError, NoSuchModuleError, PendingRollbackError

        errors += (DBAPIError, NoSuchModuleError, PendingRollbackError)
    return errors


def _waiting(storage: Any, optuna: Any, name: str, reporter: Reporter, longest_wait_s: float) -> Any:
    """The storage, each of whose calls is repeated until it is answered.

    A repeated call may find its own earlier success: a finished trial stays as it is, and a second new trial has no owner, so
    that it is left out later.
    """
    outage = _Outage(name, reporter, longest_wait_s)
    finished, lost = optuna.exceptions.UpdateFinishedTrialError, _lost(optuna)

    def patient(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def repeat(*arguments: Any, **options: Any) -> Any:
            failures = 0
            while True:
                try:
                    answer = call(*arguments, **options)
                except finished:
                    if failures and call.__name__ == "set_trial_state_values":
                        return True
                    raise
                except lost as error:
                    failures += 1
                    outage.wait(error, failures)
                else:
                    outage.end()
                    return answer

        return repeat

    for method in CALLS:
        setattr(storage, method, patient(getattr(storage, method)))
    return storage


class _Outage:
    """The time in which a storage does not answer."""

    def __init__(self, name: str, reporter: Reporter, longest_wait_s: float) -> None:
        self._name, self._reporter, self._longest_wait_s = name, reporter, longest_wait_s
        self._since_s: float | None = None

    def wait(self, error: BaseException, failures: int) -> None:
        """Wait before the next attempt, longer after each failure.

        Raises:
            StoreError: The storage was away for too long.
        """
        if self._since_s is None:
            self._since_s = time.monotonic()
            reason = " ".join(str(error).split())[:200]
            line = gettext("the storage {name} does not answer ({reason}); waiting for it", name=self._name, reason=reason)
            self._reporter.line(line)
        if time.monotonic() - self._since_s > self._longest_wait_s:
            msg = gettext("the storage {name} did not come back; run the same command again when it does", name=self._name)
            raise StoreError(msg) from error
        time.sleep(min(0.25 * 2**failures, LONGEST_PAUSE_S))

    def end(self) -> None:
        """The storage answered."""
        if self._since_s is not None:
            self._since_s = None
            self._reporter.line(gettext("the storage {name} is back", name=self._name))
