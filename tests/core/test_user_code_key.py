import json
import subprocess
import sys
from pathlib import Path

import pytest

from compress import Distill, Train
from compress.config.recipe import loads
from compress.core.errors import CompressError, TrustError
from compress.core.sentences import render
from compress.core.user_code_key import UserCodeKey, user_code_key
from compress.train.loss_term import LossTerm

LOSS = """
from pathlib import Path
from beside import SCALE
from compress.train.loss_term import LossTerm
HEIGHT = float(Path(__file__).with_name("height.txt").read_text())

class Flat(LossTerm):
    width: float = 1.0
    def per_sample(self, inputs):
        return inputs.student_logits.sum(1) * SCALE * HEIGHT

def ask(images):
    return images * HEIGHT
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(LOSS)
    (tmp_path / "beside.py").write_text("SCALE = 2.0\n")
    (tmp_path / "height.txt").write_text("3")
    return tmp_path


def key_of(folder: Path, parameters: str) -> UserCodeKey:
    """Key of the second stage of a recipe."""
    text = (
        "name: own\ndata: {source: digits}\nmodel: {source: 'torchvision:resnet18'}\n"
        f"stages: [{{train: {{epochs: 1}}}}, {{distill: {{epochs: 1, {parameters}}}}}]\n"
    )
    stage = loads(text, base=folder, trust_code=True).stages[1]
    return user_code_key(stage, folder, trust_code=True)


def forget_own() -> None:
    """Import the file anew, as another process does."""
    for name in [name for name in sys.modules if name.startswith("compress_user_own_")]:
        del sys.modules[name]


TERMS = "teacher: parent, losses: [{'python:own.py:Flat': {width: 2.0}}, task]"
FUNCTION = "teacher: {function: {function: 'python:own.py:ask'}}"


def test_a_stage_without_the_users_code_has_no_key_of_it() -> None:
    assert user_code_key(Train(), Path(), trust_code=False) == UserCodeKey({})
    assert user_code_key(Distill(teacher="parent"), Path(), trust_code=False) == UserCodeKey({})


@pytest.mark.parametrize("parameters", [TERMS, FUNCTION])
@pytest.mark.parametrize(("file", "text"), [("own.py", LOSS + "# edited"), ("beside.py", "SCALE = 4.0\n"), ("height.txt", "5")])
def test_a_method_of_own_code_is_known_by_file_imports_and_values_read_at_import(
    folder: Path, parameters: str, file: str, text: str
) -> None:
    before = key_of(folder, parameters)
    assert before.notes == ()
    assert key_of(folder, parameters) == before
    forget_own()
    assert key_of(folder, parameters) == before
    (folder / file).write_text(text)
    forget_own()
    assert key_of(folder, parameters) != before


def test_another_process_gives_the_same_key(folder: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path; from tests.core.test_user_code_key import *\n"
        "print(json.dumps(key_of(Path(sys.argv[1]), TERMS).hashes))"
    )
    root = str(Path(__file__).parents[2])
    env = {"PYTHONPATH": root, "PYTHONHASHSEED": "7"}
    output = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True, env=env
    ).stdout
    assert json.loads(output) == key_of(folder, TERMS).hashes


def test_a_class_passed_in_python_is_known_by_its_methods_and_private_values() -> None:
    def term(factor: float, offset: float) -> LossTerm:
        class Own(LossTerm):
            _offset: float = offset

            def per_sample(self, inputs: object) -> object:
                return inputs * factor  # type: ignore[operator]

        return Own()

    def key(term: LossTerm) -> UserCodeKey:
        return user_code_key(Distill(teacher="parent", losses=(term,)), Path(), trust_code=False)

    assert key(term(1.0, 0.0)) == key(term(1.0, 0.0))
    assert len({str(key(term(*values))) for values in ((1.0, 0.0), (2.0, 0.0), (1.0, 1.0))}) == 3


def test_code_that_cannot_be_read_as_a_whole_has_the_key_of_no_other_run(folder: Path) -> None:
    (folder / "own.py").write_text(
        "import threading\nLOCK = threading.Lock()\ndef ask(images):\n    with LOCK:\n        pass\n"
    )
    first, second = key_of(folder, FUNCTION), key_of(folder, FUNCTION)
    assert first.hashes != second.hashes
    (note,) = first.notes
    assert "LOCK (lock)" in render(note)


def test_code_that_may_not_run_or_is_not_there_is_refused(folder: Path) -> None:
    stage = Distill(teacher={"function": {"function": "python:own.py:ask"}})
    with pytest.raises(TrustError, match="--trust-code"):
        user_code_key(stage, folder, trust_code=False)
    (folder / "own.py").unlink()
    with pytest.raises(CompressError, match="no such file"):
        user_code_key(stage, folder, trust_code=True)
