import sysconfig
from collections import Counter

import pytest

from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.sources.text.python_docs import read_areas, sentences_of
from compress.data.sources.text.python_library import AREAS
from compress.data.text.settings import TrainedTokenizer


def test_sentences_are_whole_and_name_no_module():
    docstring = """Read rows of a csv file. Too short. The reader of csv.reader gives each row as a list.

    >>> this is code and no sentence at all.
    """
    assert list(sentences_of(docstring)) == ["Read rows of a file.", "The reader of reader gives each row as a list."]


def test_no_sentence_is_of_two_areas():
    areas = read_areas(sysconfig.get_paths()["stdlib"])
    assert list(areas) == list(AREAS)
    assert min(map(len, areas.values())) > 500
    every = [sentence for sentences in areas.values() for sentence in sentences]
    assert len(every) == len(set(every))


def test_areas_have_equal_numbers_of_sentences(tmp_path):
    pytest.importorskip("tokenizers")
    settings = DataSettings(source="python_docs", tokenizer=TrainedTokenizer(train="wordpiece", vocabulary=500))
    data = load_data(settings, base=tmp_path)
    assert data.spec.classes == tuple(sorted(AREAS))
    counts = Counter(split for part in (data.train, data.validation, data.test) for split in part.labels.tolist())
    assert len(set(counts.values())) == 1
    assert sum(counts.values()) > 4000
    assert [fact.code for fact in data.warnings] == []
