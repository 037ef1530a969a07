import threading
import time
from pathlib import Path

import pytest

from compress.config.tracking import Tracking
from compress.core.progress import NullReporter
from compress.core.run_record import RunRecord
from compress.pipeline.tracking import trackers as module
from compress.pipeline.tracking.trackers import Trackers, open_trackers


class Lines(NullReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


class Recorder:
    """A tracker that notes its calls, and fails in one of them."""

    def __init__(self, name: str = "good", fails: str = "", error: Exception | None = None) -> None:
        self.name, self.fails, self.error, self.calls = name, fails, error, []
        self.answer = threading.Event()

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if what == self.fails:
            if self.error is None:
                self.answer.wait(60)
            else:
                raise self.error

    def start(self, _):
        self._call("start")

    def log_stage(self, stage):
        self._call(stage.name)

    def finish(self, _):
        self._call("finish")

    def send_files(self, _):
        self._call("files")

    def stop(self, status):
        self._call(status)


def run_all(trackers: Trackers, record: RunRecord) -> None:
    with trackers.running({}):
        for stage in record.stages[:2]:
            trackers.log_stage(stage)
    trackers.finish(record, Path())


EVERYTHING = ["start", "distill", "prune", "finish", "files"]


@pytest.mark.parametrize("fails", EVERYTHING)
def test_a_tracker_that_fails_is_named_once_and_left_out(fails: str, example: RunRecord) -> None:
    bad = Recorder("bad", fails, ConnectionError("cannot reach http://me:pa55word@server/api\nnow"))
    good, lines = Recorder(), Lines()
    run_all(Trackers((bad, good), lines), example)
    assert good.calls == EVERYTHING
    assert bad.calls == EVERYTHING[: EVERYTHING.index(fails) + 1]
    (line,) = lines.lines
    assert "tracking.bad is left out" in line
    assert "ConnectionError: cannot reach http://server/api now" in line


def test_a_tracker_without_an_answer_costs_its_deadline_once(example: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.3)
    silent, good, lines = Recorder("silent", "distill"), Recorder(), Lines()
    start = time.monotonic()
    run_all(Trackers((silent, good), lines), example)
    assert time.monotonic() - start < 5.0
    assert good.calls == EVERYTHING
    assert silent.calls == ["start", "distill"]
    assert ["no answer in" in line for line in lines.lines] == [True]
    silent.answer.set()


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")])
def test_a_run_that_does_not_finish_ends_in_the_trackers(error: type[BaseException], status: str) -> None:
    good = Recorder()
    with pytest.raises(error), Trackers((good,), Lines()).running({}):
        raise error
    assert good.calls == ["start", status]


def test_calls_are_over_before_the_run_goes_on(example: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    good = Recorder()
    monkeypatch.setattr(good, "log_stage", lambda _: (time.sleep(0.2), order.append("logged")))
    Trackers((good,), Lines()).log_stage(example.stages[0])
    order.append("next stage")
    assert order == ["logged", "next stage"]


def test_without_settings_there_are_no_trackers(tmp_path: Path) -> None:
    for tracking in (None, Tracking()):
        with open_trackers(tracking, "a", tmp_path, Lines()).running({}):
            pass
    assert list(tmp_path.iterdir()) == []
