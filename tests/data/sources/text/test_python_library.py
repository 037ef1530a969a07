"""Source files of Python's library, and first sentences of docstrings."""

import sysconfig
from pathlib import Path

import pytest

from compress.data.sources.text.python_library import first_sentence, source_files

FOLDER = Path(sysconfig.get_paths()["stdlib"])


def test_files_of_a_package_are_without_its_tests():
    assert source_files("shutil", FOLDER) == [FOLDER / "shutil.py"]
    assert source_files("no_module", FOLDER) == []
    assert {file.name for file in source_files("json", FOLDER)} >= {"decoder.py", "encoder.py"}
    assert not any("test" in file.relative_to(FOLDER).parts for file in source_files("unittest", FOLDER))


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return *x*. Then more.", "Return x."),
        ("Return\n  x\n\nMore.", "Return x"),
        ("Use e.g. this one.", "Use e.g. this one."),
        ("", ""),
    ],
)
def test_first_sentences_are_plain(docstring, sentence):
    assert first_sentence(docstring) == sentence
