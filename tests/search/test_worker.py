"""A worker on arithmetic trials: every kind of end, and processes that are killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from compress.core.errors import OutOfMemoryError, StoreError
from compress.core.record import Metric
from compress.search import worker
from compress.search.samplers import make_sampler
from compress.search.worker import WorkerOptions, work
from tests.search.toy_study import SETTINGS, open_study, quantity, result, source

CHILD = """\
import sys, time
from pathlib import Path
from compress.search import worker
from tests.search.toy_study import open_study, result, source

done = Path(sys.argv[2])

def measure(trial, *_):
    x = trial.suggest_float("x", 0.0, 1.0)
    time.sleep(0.02)
    with done.open("a") as file:
        file.write(f"{trial.number} {x!r}\\n")
    time.sleep(0.02)
    return result(x, 1.0 - x)

worker._measure = measure
worker.POLL_S = 0.05
study = open_study(sys.argv[1], open_wait_s=60.0)
study.watch.grace_s = 2.0
worker.work(study, source(), worker.WorkerOptions(Path("."), "f", int(sys.argv[3])))
"""


def options(tmp_path, trials=4, **fields):
    return WorkerOptions(tmp_path, "study", trials, **fields)


def scripted(monkeypatch, *ends):
    """Trials end as scripted: by a result or an error."""
    script = iter(ends)

    def measure(trial, *_):
        trial.suggest_float("x", 0.0, 1.0)
        end = next(script)
        if isinstance(end, BaseException):
            raise end
        return end

    monkeypatch.setattr(worker, "_measure", measure)


def test_trials_that_fail_are_counted_with_the_reason_and_the_search_goes_on(tmp_path, monkeypatch):
    study = open_study(tmp_path / "journal.log")
    scripted(monkeypatch, OutOfMemoryError("16 GB"), result(0.9, 1.0), RuntimeError("boom\nmore"), result(0.8, 0.5, size=0.2))
    work(study, source(), options(tmp_path))
    rows = study.rows()
    assert [row.state for row in rows] == ["failed", "finished", "failed", "finished"]
    assert [row.reason for row in rows] == ["OutOfMemoryError: 16 GB", "", "RuntimeError: boom", ""]
    assert [row.is_feasible for row in rows] == [False, True, False, False]
    assert rows[3].result.distances == {"size": 0.2}
    assert study.study.trials[3].constraints == {"size": 0.2}


def test_an_interrupted_trial_is_repeated_by_the_next_command(tmp_path, monkeypatch):
    study = open_study(tmp_path / "journal.log")
    scripted(monkeypatch, result(0.9, 1.0), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        work(study, source(), options(tmp_path))
    interrupted = study.rows()[-1].parameters
    scripted(monkeypatch, result(0.8, 1.0), result(0.7, 1.0), result(0.6, 1.0))
    again = open_study(tmp_path / "journal.log")
    work(again, source(), options(tmp_path))
    assert [row.state for row in again.rows()] == ["finished"] * 4
    assert again.rows()[1].parameters == interrupted


def test_a_full_disk_ends_the_worker_and_not_the_trial(tmp_path, monkeypatch):
    study = open_study(tmp_path / "journal.log")
    scripted(monkeypatch, StoreError("full"))
    with pytest.raises(StoreError):
        work(study, source(), options(tmp_path))
    scripted(monkeypatch, result(0.8, 1.0))
    work(study, source(), options(tmp_path, trials=1))
    assert study.states() == {"finished": 1}


def test_memory_is_collected_seldom_where_trials_are_cheap(monkeypatch):
    now, collected = [100.0], []
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker.gc, "collect", lambda: collected.append(now[0]) or now.__setitem__(0, now[0] + 0.1))
    collection = worker.Collection()
    for _ in range(300):
        collection.collect_if_due()
        now[0] += 0.1
    assert [round(at) for at in collected] == [100, 110, 120]
    now[0] += 20.0
    collection.collect_if_due()
    assert len(collected) == 4


def test_no_trial_starts_after_the_time(tmp_path, monkeypatch):
    study = open_study(tmp_path / "journal.log")
    scripted(monkeypatch)
    work(study, source(), options(tmp_path, deadline_s=time.monotonic() - 1))
    assert study.states().total() == 0


def test_a_trial_that_is_worse_than_the_others_stops_after_its_stage(tmp_path, monkeypatch):
    settings = SETTINGS.model_copy(update={"stop": "median", "engine": "tpe"})
    metric = Metric(name="accuracy", label="accuracy", unit="fraction", higher_is_better=True)
    toy = source(settings, metrics=(metric,))
    study = open_study(tmp_path / "journal.log", settings)
    study.study.sampler = make_sampler("tpe", seed=0, trials=20)
    values = iter([0.5, 0.6, 0.7, 0.8, 0.4, 0.9])

    def measure(trial, *_):
        trial.suggest_float("x", 0.0, 1.0)
        accuracy = next(values)
        record = SimpleNamespace(index=1, name="prune", after={"accuracy_validation": quantity(accuracy)})
        worker._stop_if_worse(trial, record, study, toy)
        return result(accuracy, 1.0)

    monkeypatch.setattr(worker, "_measure", measure)
    work(study, toy, options(tmp_path, trials=6))
    rows = study.rows()
    assert [row.state for row in rows] == ["finished"] * 4 + ["pruned", "finished"]
    assert "after prune its accuracy is 0.4" in rows[4].reason
    assert rows[4].steps == {1: -0.4}


def run_child(storage: str, done: Path, trials: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen([sys.executable, "-c", CHILD, storage, done, str(trials)], env=environment)


def test_workers_that_are_killed_lose_and_repeat_no_finished_trial(tmp_path):
    """Two workers; five times one of them is killed and started again."""
    storage, done, trials = str(tmp_path / "journal.log"), tmp_path / "done", 40
    open_study(storage)
    draw = random.Random(0)
    workers = [run_child(storage, done, trials) for _ in range(2)]
    kills = 0
    while kills < 5 and any(process.poll() is None for process in workers):
        time.sleep(1.0 + draw.random() / 5)
        victim = draw.randrange(2)
        workers[victim].send_signal(signal.SIGKILL)
        workers[victim].wait()
        workers[victim] = run_child(storage, done, trials)
        kills += 1
    assert [process.wait(timeout=60) for process in workers] == [0, 0]
    study = open_study(storage)
    rows = study.rows()
    assert study.states() == {"finished": trials}
    assert len({row.parameters["x"] for row in rows}) == trials
    begun = [line.split() for line in done.read_text().splitlines()]
    assert {repr(row.parameters["x"]) for row in rows} <= {x for _, x in begun}
