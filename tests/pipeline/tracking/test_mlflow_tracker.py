"""Runs in MLflow, read back by its own client: from an SQLite store, and from a real server on this machine."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from compress.config.tracking import Mlflow
from compress.core.errors import MissingPackageError
from compress.core.run_record import RunRecord
from compress.pipeline.tracking import mlflow_tracker
from compress.pipeline.tracking.mlflow_tracker import STATE, MlflowTracker
from compress.pipeline.tracking.values import curve_points, final_values, parameters

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own packages
SECRET = "pa55word"  # noqa: S105  # for the tests


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'runs.db'}"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server, artifacts go to the working folder."""
    monkeypatch.chdir(tmp_path)


def open_tracker(uri: str | None, run: Path, *, artifacts: bool = False, experiment: str | None = None) -> MlflowTracker:
    run.mkdir(exist_ok=True)
    return MlflowTracker(Mlflow(uri=uri, artifacts=artifacts, experiment=experiment), "digits", run)


def log(tracker: MlflowTracker, record: RunRecord) -> None:
    tracker.start(record.recipe)
    for stage in record.every_stage:
        tracker.log_stage(stage)
    tracker.finish(record)


def runs(uri: str, experiment: str = "digits"):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return client, client.search_runs([found.experiment_id])


def check(uri: str, record: RunRecord, experiment: str) -> str:
    """Everything of the record is in the only run of an experiment; returns its id."""
    client, (run,) = runs(uri, experiment)
    assert run.data.params == parameters(record.recipe)
    assert run.info.status == "FINISHED"
    values = final_values(record)
    assert {name: run.data.metrics[name] for name in values} == pytest.approx(values)
    for stage in record.stages[:2]:
        for name in stage.curves:
            history = client.get_metric_history(run.info.run_id, f"{stage.index:02d}-{stage.name}/{name}")
            expected = [(point.step, point.value) for point in curve_points(stage) if point.name == name]
            assert [(entry.step, entry.value) for entry in history] == expected
    assert len(client.get_metric_history(run.info.run_id, "accuracy")) == 1
    assert run.data.tags["compress.verdict"] == "met"
    assert run.data.tags["compress.run"].startswith("digits/")
    return run.info.run_id


def test_a_run_is_read_back_and_logged_once(store: str, example: RunRecord, tmp_path: Path) -> None:
    log(open_tracker(store, tmp_path / "a", experiment="once"), example)
    first = check(store, example, "once")
    log(open_tracker(store, tmp_path / "a", experiment="once"), example)  # nothing changed: the same run, no point twice
    assert check(store, example, "once") == first


def test_an_interrupted_run_is_continued(store: str, example: RunRecord, tmp_path: Path) -> None:
    tracker = open_tracker(store, tmp_path / "b", experiment="interrupted")
    tracker.start(example.recipe)
    tracker.log_stage(example.stages[0])
    tracker.stop("KILLED")
    assert runs(store, "interrupted")[1][0].info.status == "KILLED"
    log(open_tracker(store, tmp_path / "b", experiment="interrupted"), example)
    check(store, example, "interrupted")


def test_a_run_that_the_server_lost_begins_anew(store: str, example: RunRecord, tmp_path: Path) -> None:
    log(open_tracker(store, tmp_path / "c", experiment="lost"), example)
    client, (run,) = runs(store, "lost")
    client.delete_run(run.info.run_id)
    (tmp_path / "c" / STATE).write_text(json.dumps({**json.loads((tmp_path / "c" / STATE).read_text()), "run_id": "0" * 32}))
    log(open_tracker(store, tmp_path / "c", experiment="lost"), example)
    assert check(store, example, "lost") != run.info.run_id
    (tmp_path / "c" / STATE).write_text("{")
    open_tracker(store, tmp_path / "c", experiment="lost").start(example.recipe)
    assert len(runs(store, "lost")[1]) == 2


def test_long_values_odd_names_and_many_entries_are_taken(store: str, example: RunRecord, tmp_path: Path) -> None:
    recipe = {"long": "x" * 9000, "odd <name> 🙂": 1, **{f"p{index}": index for index in range(230)}}
    tracker = open_tracker(store, tmp_path / "d", experiment="odd")
    tracker.start(recipe)
    curve = example.stages[0].curves["loss"]
    many = curve.model_copy(update={"x": tuple(map(float, range(2300))), "y": tuple(map(float, range(2300)))})
    tracker.log_stage(example.stages[0].model_copy(update={"curves": {"loss|λ": many}}))
    client, (run,) = runs(store, "odd")
    assert len(run.data.params) == 232
    assert run.data.params["long"] == "x" * 6000
    assert run.data.params["odd _name_ _"] == "1"
    assert len(client.get_metric_history(run.info.run_id, "01-distill/loss_λ")) == 2300


def test_the_address_of_the_environment_is_used_and_stored_nowhere(
    store: str, example: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    log(open_tracker(None, tmp_path / "e", experiment="environment"), example)
    check(store, example, "environment")
    state = (tmp_path / "e" / STATE).read_text()
    assert store not in state
    assert SECRET not in state


def test_a_missing_package_gives_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingPackageError, match=r"compress\[mlflow\]"):
        MlflowTracker(Mlflow(), "digits", tmp_path)


CONNECTIONS = """
import json, socket, sys
from pathlib import Path
opened = []
connect = socket.socket.connect
socket.socket.connect = lambda self, address: (opened.append(str(address)), connect(self, address))[1]
from compress.config.tracking import Mlflow
from compress.core.run_record import RunRecord
from compress.pipeline.tracking.mlflow_tracker import MlflowTracker
import os
record, folder = RunRecord.load(Path(sys.argv[1])), Path(sys.argv[2])
tracker = MlflowTracker(Mlflow(uri=f"sqlite:///{folder / 'own.db'}"), "digits", folder)
tracker.start(record.recipe)
tracker.log_stage(record.stages[0])
tracker.finish(record)
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "true"
print(json.dumps(opened))
"""


@pytest.mark.slow
def test_the_client_opens_no_connection_of_its_own(tmp_path: Path) -> None:
    hidden = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "PYTEST_CURRENT_TEST")  # with some, MLflow is silent anyway
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    record = Path(__file__).parents[3] / "reports" / "example" / "record.json"
    code = [sys.executable, "-W", "ignore", "-c", CONNECTIONS, str(record), str(tmp_path)]
    done = subprocess.run(code, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert done.stderr == ""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path / 'server.db'}",
        "--artifacts-destination",
        str(tmp_path / "store"),
    ]
    environment = {**os.environ, **mlflow_tracker.SETTINGS, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (tmp_path / "server.log").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=tmp_path, start_new_session=True)
    (tmp_path / "server.pid").write_text(str(process.pid))
    try:
        uri = f"http://127.0.0.1:{port}"
        _wait_until_healthy(f"{uri}/health", process, tmp_path / "server.log")
        yield uri
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(30)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, output.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # this machine
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"no server: {output.read_text()[-2000:]}")


@pytest.mark.slow
def test_a_run_on_a_real_server_is_read_back_with_its_files(
    server: str, example: RunRecord, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    tracker = open_tracker(server, run, artifacts=True, experiment="server")
    (run / "artifacts" / "host").mkdir(parents=True)
    for name in ("report.md", "report.html", "record.json", "artifacts/host/model.onnx"):
        (run / name).write_text(name)
    log(tracker, example)
    tracker.send_files(run)
    assert capfd.readouterr() == ("", "")
    run_id = check(server, example, "server")
    client, _ = runs(server, "server")
    assert {entry.path for entry in client.list_artifacts(run_id)} == {"report.md", "report.html", "record.json", "artifacts"}
    assert [entry.path for entry in client.list_artifacts(run_id, "artifacts/host")] == ["artifacts/host/model.onnx"]


@pytest.mark.slow
def test_a_server_that_goes_away_is_an_error_within_seconds(server: str, example: RunRecord, tmp_path: Path) -> None:
    tracker = open_tracker(server, tmp_path / "run")
    tracker.start(example.recipe)
    (pid,) = map(int, (tmp_path / "server.pid").read_text().split())
    os.killpg(pid, 9)
    start = time.monotonic()
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        tracker.log_stage(example.stages[0])
    assert time.monotonic() - start < 20


def test_no_server_is_an_error_within_seconds(example: RunRecord, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        tracker = open_tracker(f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path / "run")
        start = time.monotonic()
        with pytest.raises(Exception, match=r"127\.0\.0\.1"):
            tracker.start(example.recipe)
    assert time.monotonic() - start < 20
