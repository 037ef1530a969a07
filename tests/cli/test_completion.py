"""Shell completion knows recipes, devices, methods and runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compress.cli import completion


def test_recipes_are_own_files_and_shipped_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    for name in ("detect_cats.yaml", "pipelines/detect_dogs.yaml"):
        (tmp_path / name).write_text("name: x\n")
    assert completion.recipes("detect") == ["detect_cats.yaml", "detect_dogs", "detection", "detector_jetson"]
    assert completion.recipes("pipelines/d") == ["pipelines/detect_dogs.yaml"]


def test_devices_are_completed_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert completion.devices("rasp") == ["raspberry_pi_5"]
    assert completion.devices("host,rasp") == ["host,raspberry_pi_5"]
    assert "host" in completion.devices("")


def test_families_methods_and_tasks_are_those_of_the_registry() -> None:
    assert completion.methods("imp") == ["importance"]
    assert completion.methods("tay") == ["taylor"]
    assert completion.tasks("detec") == ["detection"]


def test_schemes_and_runtimes_are_those_of_the_package() -> None:
    assert completion.schemes("weight") == ["weight_int8", "weight_int4"]
    assert completion.runtimes("onnxruntime,lite") == ["onnxruntime,litert"]


def test_runs_are_offered_once_and_the_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for age, digest in ((10, "aaa"), (5, "bbb")):
        folder = tmp_path / "reports" / "mine" / digest
        folder.mkdir(parents=True)
        (folder / "record.json").write_text("{}")
        os.utime(folder / "record.json", (1000 - age, 1000 - age))
    (tmp_path / "reports" / "latest").symlink_to("mine/bbb")
    assert completion.runs("") == ["reports/mine/bbb", "reports/mine/aaa"]
    assert completion.runs("reports/mine/a") == ["reports/mine/aaa"]
    assert completion.runs("nowhere/") == []


def test_the_shell_gets_them() -> None:
    environment = os.environ | {
        "_COMPRESS_COMPLETE": "complete_bash", "COMP_WORDS": "compress devices show rasp", "COMP_CWORD": "3",
    }  # fmt: skip
    code = "import sys; sys.argv[0] = 'compress'; from compress.cli import app; app(prog_name='compress')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["raspberry_pi_5"]
