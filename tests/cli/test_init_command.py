"""`compress init` as a user meets it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from compress.cli import init_command
from compress.cli.commands import app
from compress.config.recipe import load
from tests.cli.run_process import compress, process

FLAGS = ("--task", "classification", "--network", "torchvision:mobilenet_v2", "--data", "digits")


def test_flags_alone_write_a_recipe_that_validates(tmp_path: Path) -> None:
    path = tmp_path / "my_product.yaml"
    done = compress("init", path, *FLAGS, "--save", "size", "--size-mb", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert compress("validate", path).returncode == 0
    recipe = load(path).recipe
    assert recipe.name == "my_product"
    assert recipe.budget is not None
    assert recipe.budget.size_mb == 3.0


def test_the_five_questions_are_asked_and_a_wrong_task_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_command, "_is_interactive", lambda: True)
    monkeypatch.chdir(tmp_path)
    typed = "detecton\ndetection\n\ndrawn_boxes\nhost, jetson\nlatency\n"
    done = CliRunner().invoke(app, ["init", "boxes.yaml"], input=typed)
    assert done.exit_code == 0, done.output
    assert "did you mean 'detection'" in done.output
    recipe = load(tmp_path / "boxes.yaml").recipe
    assert (recipe.task.name, recipe.model.source, recipe.data.source) == ("detection", "detector:small", "drawn_boxes")
    assert recipe.stages[-1].devices == ("host", "jetson_orin_nano")


def test_a_file_is_overwritten_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kept")
    refused = compress("init", path, *FLAGS)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert path.read_text() == "kept"
    assert compress("init", path, *FLAGS, "--force").returncode == 0
    assert load(path).recipe.name == "mine"


def test_without_a_terminal_missing_answers_are_named(tmp_path: Path) -> None:
    done = compress("init", "mine.yaml", "--task", "classification", cwd=tmp_path)
    assert done.returncode == 2
    assert "--network, --data" in done.stderr
    assert "--task classification --network" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["My Product.yaml", "mine.txt", "latest.yaml"])
def test_a_name_that_no_run_can_have_is_refused(name: str, tmp_path: Path) -> None:
    done = compress("init", name, *FLAGS, cwd=tmp_path)
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_is_not_valid_is_not_written(tmp_path: Path) -> None:
    done = compress("init", "mine.yaml", *FLAGS[:-1], "digts", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'digits'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from compress.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    done = process("init", "mine.yaml", *FLAGS, cwd=tmp_path, code=code)
    assert done.returncode == 0, done.stderr
