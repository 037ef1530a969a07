"""`compress search`: the whole command in processes, its errors, and the recipe that it prints."""

import json
import signal
import subprocess
import sys
import time

from tests.cli.run_process import compress, process
from tests.search.small_search import RECIPE, write_recipe


def test_a_search_prints_its_trials_and_the_recipe_of_its_choice(tmp_path):
    recipe = write_recipe(tmp_path, RECIPE.replace("trials: 3", "trials: 2"))
    common = (recipe, "--trust-code", "--out", tmp_path / "reports")
    early = compress("search", *common, "--best")
    assert early.returncode == 2
    assert "run compress search without --best first" in early.stderr
    done = compress("search", *common, "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "best trials within the budget" in done.stdout
    assert "choice: trial" in done.stdout
    again = compress("search", *common, "--device", "cpu", "--json")
    study = json.loads(again.stdout)
    assert [trial["state"] for trial in study["trials"]] == ["finished", "finished"]
    assert study["trials"][study["choice"]]["objectives"]["accuracy"]["how"] == "measured"
    assert "choice: trial" in again.stderr
    best = compress("search", *common, "--best")
    (tmp_path / "best.yaml").write_text(best.stdout)
    assert compress("validate", tmp_path / "best.yaml", "--trust-code").returncode == 0
    other = compress("search", *common, "--best", "--trial", "1")
    assert other.stdout.startswith("# trial 1 of the study small")
    assert "the study has no trial 9" in compress("search", *common, "--best", "--trial", "9").stderr


def test_a_budget_that_nothing_meets_is_exit_code_1_with_the_nearest_miss(tmp_path):
    recipe = write_recipe(tmp_path, RECIPE.replace("size_mb: 1}", "size_mb: 0.0001}").replace("trials: 3", "trials: 1"))
    common = (recipe, "--trust-code", "--out", tmp_path / "reports")
    done = compress("search", *common, "--device", "cpu")
    assert done.returncode == 1
    assert "no trial is within the budget; nearest is trial 0" in done.stdout
    assert "size" in done.stdout
    assert "the nearest miss is trial 0" in compress("search", *common, "--best").stderr


def test_faults_are_told_before_anything_runs(tmp_path):
    recipe = write_recipe(tmp_path, RECIPE.replace("high: 0.8", "high: 1.8"))
    refused = compress("search", recipe, "--trust-code", "--out", tmp_path / "reports")
    assert refused.returncode == 2
    assert "stages.prune.target.macs = 1.8" in refused.stderr
    assert not (tmp_path / "reports").exists()
    assert "is not a duration" in compress("search", write_recipe(tmp_path), "--trust-code", "--time", "soon").stderr


def interrupted(folder, command):
    """The process of a search that gets Ctrl-C in its first training, after its end, and what it wrote to standard error."""
    running = subprocess.Popen(
        [sys.executable, "-m", "compress", *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("reports/small.stages/*/01-train*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    return running, errors


def test_ctrl_c_keeps_everything_and_the_same_command_continues(tmp_path):
    recipe = write_recipe(tmp_path, RECIPE.replace("trials: 3", "trials: 2").replace("epochs: 1", "epochs: 3"))
    command = ["search", recipe, "--trust-code", "--out", tmp_path / "reports", "--device", "cpu"]
    running, errors = interrupted(tmp_path, command)
    assert running.returncode == 130, errors
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    done = process(*command)
    assert done.returncode == 0, done.stderr
    assert "2 finished" in done.stdout


def test_two_interrupted_workers_are_reported_once(tmp_path):
    recipe = write_recipe(tmp_path, RECIPE.replace("epochs: 12", "epochs: 500"))
    command = ["search", recipe, "--trust-code", "--out", tmp_path / "reports", "--device", "cpu", "--workers", "2"]
    running, errors = interrupted(tmp_path, command)
    assert running.returncode == 130, errors
    assert errors.count("interrupted") == 1
    assert "run the same command again" in errors


def test_two_workers_share_a_study(tmp_path):
    recipe = write_recipe(tmp_path)
    storage = f"sqlite:///{tmp_path}/study.db"
    done = process("search", recipe, "--trust-code", "--out", tmp_path / "reports", "--workers", "2", "--storage", storage,
                   "--device", "cpu")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "3 finished" in done.stdout
    assert len(list(tmp_path.glob("reports/small.stages/*/01-train"))) == 1
