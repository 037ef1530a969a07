"""The command line as a user meets it: what it prints, and real exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compress.cli import main
from tests.cli.run_process import compress, process

TINY = """\
name: tiny
data: {source: digits, image_size: 32, limit: 96, validation: 0.1, test: 0.1}
model: {source: "torchvision:squeezenet1_1"}
stages:
  - train: {epochs: 1}
  - quantize: {calibration: {samples: 16}}
"""


OWN = TINY.replace("torchvision:squeezenet1_1", "python:network.py:network")
"""With a network of one convolution, whose export takes a second."""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "network.py").write_text(
        "from torch import nn\n"
        "def network(num_classes: int = 10) -> nn.Module:\n"
        "    pooled = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "    return nn.Sequential(pooled, nn.Linear(8, num_classes))\n"
    )
    path = tmp_path / "tiny.yaml"
    path.write_text(OWN)
    return path


def run(recipe: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return compress("pipeline", recipe, "--trust-code", "--out", recipe.parent / "out", *options)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["validate", "resnet50_to_mobilenet"],
        ["schema"],
        ["schema", "record"],
        ["methods"],
        ["devices", "list"],
        ["devices", "show", "jetson"],
    ],
)
def test_light_verbs_import_no_torch(arguments):
    code = (
        "import sys; from compress.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'torchvision', 'onnx', 'onnxruntime', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = process(*arguments, code=code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("verb", ["pipeline", "validate", "profile", "report", "devices", "methods", "schema"])
def test_every_verb_explains_itself(verb):
    done = compress(verb, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_a_recipe_with_faults_is_refused_with_all_of_them_and_no_traceback(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(TINY.replace("train: {epochs: 1}", "train: {epoch: 0, lr: -1}").replace("digits", "digts"))
    done = compress("pipeline", path, cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'epochs'" in done.stderr
    assert "did you mean 'digits'" in done.stderr
    assert "lr" in done.stderr
    assert "Traceback" not in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["bad.yaml"]


def test_a_recipe_runs_to_its_report_and_says_where_it_is(recipe, tmp_path):
    done = run(recipe)
    assert done.returncode == 0, done.stderr
    (report,) = (tmp_path / "out").glob("tiny/*/report.html")
    assert str(report.parent) in done.stdout
    assert "quantize" in done.stdout
    redrawn = compress("report", report.parent, "--out", tmp_path / "again")
    assert redrawn.returncode == 0, redrawn.stderr
    assert (tmp_path / "again" / "report.md").read_text() == (report.parent / "report.md").read_text()


def test_quiet_prints_only_a_missed_budget_and_exits_with_1(recipe, tmp_path):
    recipe.write_text(OWN + "budget: {size_mb: 0.001}\n")
    done = run(recipe, "--quiet")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("budget missed; see ")
    assert len(done.stderr.splitlines()) == 1


def test_json_on_standard_output_has_the_verdict_and_latest_leads_to_the_run(recipe, tmp_path):
    recipe.write_text(OWN + "budget: {size_mb: 0.001}\n")
    done = run(recipe, "--json")
    assert done.returncode == 1
    printed = json.loads(done.stdout)
    assert (printed["passed"], printed["verdict"]) == (False, "missed")
    assert ("size_bytes", "missed") in [(limit["name"], limit["result"]) for limit in printed["limits"]]
    assert printed["metrics"]["size_bytes"]["value"] > 1000
    assert (tmp_path / "out" / "latest").resolve() == Path(printed["folder"]).resolve()
    assert compress("report", tmp_path / "out" / "latest").returncode == 0


def test_at_toy_size_no_budget_is_judged(recipe, tmp_path):
    recipe.write_text(OWN + "budget: {size_mb: 0.001}\n")
    done = run(recipe, "--smoke")
    assert done.returncode == 0, done.stderr
    assert "budget not judged" in done.stdout
    assert "missed" not in done.stdout
    (report,) = (tmp_path / "out").glob("tiny/*/report.md")
    assert "**NOT JUDGED**" in report.read_text()


def test_a_budget_on_power_without_a_sensor_fails_loudly(recipe, tmp_path):
    recipe.write_text(
        OWN + "  - profile: {devices: [jetson_orin_nano], seconds: 0.05}\nbudget: {power_w: {jetson_orin_nano: 10}}\n"
    )
    done = run(recipe)
    assert done.returncode == 1
    assert "not measured" in done.stdout


def interruptible() -> None:
    """Take SIGINT even where the tests themselves run in the background, which makes it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_says_how_to_resume_and_the_next_run_continues(recipe, tmp_path):
    recipe.write_text(OWN.replace("epochs: 1", "epochs: 2000").replace("limit: 96", "limit: 64"))
    command = [sys.executable, "-m", "compress", "pipeline", str(recipe), "--trust-code", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=interruptible
    ) as running:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "out").glob("tiny/*/01-train.partial/train.checkpoint.pt")) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "out").glob("tiny/*/01-train.partial/train.checkpoint.pt"))


def test_an_output_folder_that_cannot_be_made_is_a_clear_error(recipe, tmp_path):
    (tmp_path / "out").write_text("a file")
    done = run(recipe)
    assert done.returncode == 2
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr


def test_code_in_a_recipe_needs_trust(tmp_path):
    (tmp_path / "mine.py").write_text("open('ran', 'w').close()\n")
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.replace("torchvision:squeezenet1_1", "python:mine.py:network"))
    done = compress("pipeline", path, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "--trust-code" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Evil()))
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.replace('"torchvision:squeezenet1_1"', '"file:weights.pt", architecture: "torchvision:squeezenet1_1"'))
    done = compress("pipeline", path, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()


def test_report_of_an_empty_folder(tmp_path):
    done = compress("report", tmp_path)
    assert done.returncode == 2
    assert "record" in done.stderr


def test_the_schema_is_json_and_names_every_stage():
    schema = json.loads(compress("schema").stdout)
    text = json.dumps(schema)
    assert all(f'"{name}"' in text for name in ("train", "distill", "prune", "quantize", "export", "profile"))


def test_the_schema_of_a_record_goes_to_a_file_and_an_unknown_one_is_refused(tmp_path):
    assert compress("schema", "record", "--out", tmp_path / "schema.json").returncode == 0
    assert json.loads((tmp_path / "schema.json").read_text())["title"].startswith("compress run record")
    done = compress("schema", "recepi")
    assert done.returncode == 2
    assert "not one of" in done.stderr


@pytest.mark.parametrize("path", ["y" * 300, "~nosuchuser/x"])
@pytest.mark.parametrize(
    "verb", ["validate", "report", "check", "profile", "quantize-report", "verify", "pipeline", "devices show"]
)
def test_a_path_that_no_file_can_have_is_a_clear_error(verb, path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["compress", *verb.split(), f"{path}.yaml"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "cannot be a path" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["imagefolder:{}", "distilled:{}", "python:{}.py:f"])
@pytest.mark.parametrize("path", ["y" * 300, "~nosuchuser/x"])
def test_a_source_that_no_file_can_have_is_a_clear_error(source, path, tmp_path, capsys, monkeypatch):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(TINY.replace("source: digits", f'source: "{source.format(path)}"'))
    monkeypatch.setattr("sys.argv", ["compress", "pipeline", str(recipe), "--out", str(tmp_path / "out"), "--trust-code"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "cannot be a path" in capsys.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_is_a_clear_error(error, capsys, monkeypatch):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr("compress.core.registry.entries", fail)
    monkeypatch.setattr("sys.argv", ["compress", "methods"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "ran out of memory" in capsys.readouterr().err
