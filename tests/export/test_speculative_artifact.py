"""The artifact of a pair: its script writes the text of the network alone, and damaged settings are refused."""

import shutil
import subprocess
import sys

import pytest

from compress.backends.decoder.key_value_cache import write_cached
from compress.core.errors import ConversionError
from compress.export.speculative_artifact import DRAFT, SETTINGS, read_pair, write_pair
from tests.backends.decoder.speculative_pairs import near_copy, sessions


@pytest.fixture(scope="module")
def pair(language_artifact, tmp_path_factory):
    folder, candidate = language_artifact
    work = tmp_path_factory.mktemp("pair")
    sessions(candidate, near_copy(candidate, 0.02), work)
    assert write_pair(folder.parent.parent, work, work / "target.onnx", work / "draft.onnx", 3, candidate.spec) == 1
    return work / "artifacts" / folder.name


def text_by(folder, prompt, most):
    command = [sys.executable, str(folder / "infer.py"), prompt, str(most)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_script_of_the_pair_writes_the_same_text(pair, language_artifact):
    for prompt, most in (("river stone", 12), ("window garden silver morning", 40)):
        assert text_by(pair, prompt, most) == text_by(language_artifact[0], prompt, most)


def test_the_script_is_short_and_settings_are_read(pair):
    source = (pair / "infer.py").read_text(encoding="utf-8")
    assert "class Text" in source
    assert len(source.splitlines()) < 120
    assert read_pair(pair).k == 3


def test_damaged_settings_are_refused_and_without_a_draft_there_is_no_pair(pair, language_artifact, tmp_path):
    folder = shutil.copytree(pair, tmp_path / "copy")
    for text in ("{", '{"k": 0}', '{"k": 2, "run": "x"}'):
        (folder / SETTINGS).write_text(text, encoding="utf-8")
        with pytest.raises(ConversionError, match=r"speculative.json is damaged"):
            read_pair(folder)
    (folder / DRAFT).unlink()
    assert read_pair(folder) is None
    assert read_pair(language_artifact[0]) is None


def test_artifacts_without_past_keys_and_values_get_no_draft(language_artifact, tmp_path):
    folder, candidate = language_artifact
    source = tmp_path / "stage"
    shutil.copytree(folder.parent, source / "artifacts")
    shutil.copyfile(candidate.files["onnxruntime"], source / "artifacts" / folder.name / "model.onnx")
    write_cached(candidate.files["onnxruntime"], tmp_path / "target.onnx", logits="all")
    assert write_pair(source, tmp_path / "out", tmp_path / "target.onnx", tmp_path / "target.onnx", 2, candidate.spec) == 0
    assert not (tmp_path / "out" / "artifacts").exists()
