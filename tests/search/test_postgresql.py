"""A study in a real PostgreSQL server: found again, shared, and waited for while the server is down."""

import gc
import threading
import time

import pytest

from compress.search import storage, worker
from compress.search.worker import WorkerOptions, work
from tests.search.postgresql_server import running_server, server_programs
from tests.search.toy_study import open_study, result, source

pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(server_programs() is None, reason="PostgreSQL is not installed")


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def server():
    with running_server() as server:
        yield server


def test_a_server_that_restarts_is_waited_for_and_no_trial_is_lost(server, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "LONGEST_PAUSE_S", 0.2)

    def measure(trial, *_):
        x = trial.suggest_float("x", 0.0, 1.0)
        time.sleep(0.05)
        return result(x, 1 - x)

    monkeypatch.setattr(worker, "_measure", measure)
    server.stop()
    starting = threading.Timer(1.0, server.start)
    starting.start()
    lines = Lines()
    study = open_study(server.url, reporter=lines, open_wait_s=60.0)
    starting.join()

    def restart() -> None:
        time.sleep(0.5)
        server.stop()
        time.sleep(0.5)
        server.start()

    thread = threading.Thread(target=restart)
    thread.start()
    work(study, source(), WorkerOptions(tmp_path, "study", 30))
    thread.join()
    assert any("is back" in line for line in lines.lines)
    again = open_study(server.url)
    assert again.states() == {"finished": 30}
    assert len({row.parameters["x"] for row in again.rows()}) == 30
    del study, again
    gc.collect()  # psycopg warns of a connection that is collected while it is open, and a warning is an error
