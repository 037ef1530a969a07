"""Definitions of Python's library with the first sentence of their documentation."""

import sysconfig
from pathlib import Path

import pytest

from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.text.python_definitions import read_definitions
from compress.data.text.settings import Columns, Lengths, TrainedTokenizer

FOLDER = Path(sysconfig.get_paths()["stdlib"])


def test_a_definition_has_its_module_class_and_arguments():
    found = dict(read_definitions(FOLDER))
    assert found["json.JSONDecoder"] == "Simple JSON <https://json.org> decoder"
    assert found["textwrap.indent(text, prefix, predicate)"] == "Adds 'prefix' to the beginning of selected lines in 'text'."
    assert len(found) > 3000


def test_sentences_stand_once_and_are_not_long():
    sentences = [sentence for _, sentence in read_definitions(FOLDER)]
    assert len(sentences) == len(set(sentences))
    assert all(3 <= len(sentence.split()) <= 24 for sentence in sentences)


def test_they_are_data_with_prompts(tmp_path):
    pytest.importorskip("tokenizers")
    columns = Columns(prompt="definition", response="summary", targets="next")
    tokenizer = TrainedTokenizer(train="bpe", vocabulary=500, lowercase=False)
    settings = DataSettings(
        source="python_docs", columns=columns, tokenizer=tokenizer, limit=200, evaluation_limit=40, lengths=Lengths(most=96)
    )
    data = load_data(settings, base=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (200, 40, 40)
    assert data.spec.text.prompt == ("", "\n")
    other = settings.model_copy(update={"columns": Columns(prompt="a", response="b", targets="next")})
    with pytest.raises(DataError, match=r"has the columns .prompt: definition, response: summary., or .prompt: plain"):
        load_data(other, base=tmp_path)
