import builtins
import threading
import time

import pytest

from compress.core.errors import MissingPackageError, StoreError
from compress.search import storage
from compress.search.storage import import_optuna, open_storage, without_password
from tests.search.toy_study import open_study


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_study_is_found_again_in_its_storage(kind, tmp_path):
    url = str(tmp_path / "a" / "journal.log") if kind == "journal" else f"sqlite:///{tmp_path}/study.db"
    trial = open_study(url).next_trial(5)
    trial.suggest_float("x", 0.0, 1.0)
    again = open_study(url)
    assert [row.parameters.keys() for row in again.rows()] == [{"x": 0}.keys()]


def test_a_missing_optimizer_names_its_extra(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingPackageError, match=r"pip install 'compress\[search\]'"):
        import_optuna()


@pytest.mark.parametrize("url", ["sqlite:////proc/none/study.db", "oracle://x", "postgresql://nobody:secret@127.0.0.1:1/x"])
def test_a_storage_that_cannot_be_opened_is_an_error_without_its_password(url):
    with pytest.raises(StoreError, match="cannot open the storage") as error:
        open_storage(url, open_wait_s=0.0)
    assert "secret" not in str(error.value).split(": ", 1)[0]


def test_a_password_is_not_shown():
    assert without_password("postgresql://me:secret@host/x") == "postgresql://me:***@host/x"
    assert without_password("postgresql://me@host/x") == "postgresql://me@host/x"


def test_a_journal_that_a_full_disk_cut_is_read_up_to_its_last_whole_line(tmp_path):
    path = tmp_path / "journal.log"
    open_study(path).next_trial(5)
    with path.open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    study = open_study(path)
    assert study.states().total() == 1
    study.next_trial(5)
    assert open_study(path).states().total() == 2


def test_a_storage_that_goes_away_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LONGEST_PAUSE_S", 0.05)
    folder, lines = tmp_path / "share", Lines()
    study = open_study(folder / "journal.log", reporter=lines)
    study.next_trial(5)
    folder.rename(tmp_path / "gone")
    back = threading.Timer(0.4, lambda: (tmp_path / "gone").rename(folder))
    back.start()
    start_s = time.monotonic()
    study.next_trial(5)
    assert time.monotonic() - start_s > 0.2
    back.join()
    assert study.states().total() == 2
    assert "waiting for it" in lines.lines[0]
    assert "is back" in lines.lines[-1]


def test_a_storage_that_stays_away_ends_the_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LONGEST_PAUSE_S", 0.01)
    study = open_study(tmp_path / "share" / "journal.log", longest_wait_s=0.1)
    (tmp_path / "share").rename(tmp_path / "gone")
    with pytest.raises(StoreError, match="did not come back"):
        study.next_trial(5)
