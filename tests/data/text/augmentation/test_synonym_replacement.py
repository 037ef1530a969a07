"""Words are replaced by synonyms of a file, of WordNet, or by neighbours."""

import pytest

from compress.core.errors import DataError
from compress.core.fact import Fact
from compress.data.text.augmentation import synonym_replacement, wordnet
from compress.data.text.augmentation.synonym_replacement import SynonymReplacement
from compress.data.text.augmentation.words import split_words
from tests.data.text.augmentation.augmentation_checks import drawn, resources, teacher_of, tokenizer


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("word,synonyms\ncat,kitten;tomcat\nruns,dashes\n", encoding="utf-8")
    return path


def test_only_synonyms_replace_words(file, tmp_path):
    method = SynonymReplacement(p=0.2, source=file.name)
    assert method.keeps_label
    assert not method.uses_teacher
    for change in drawn(method, ["Cat near the house runs"] * 20, base=tmp_path):
        changed = [(old, new) for old, new in zip(change.words.words, change.slots, strict=True) if old != new]
        assert len(changed) == 1
        assert changed[0] in {("Cat", "Kitten"), ("Cat", "Tomcat"), ("runs", "dashes")}


def test_without_wordnet_neighbours_of_the_teacher_replace_words_and_the_label_is_lost(monkeypatch):
    monkeypatch.setattr(synonym_replacement, "wordnet", lambda: None)
    method, own = SynonymReplacement(p=1.0), tokenizer()
    assert method.uses_teacher
    assert not method.keeps_label
    given = resources(own, teacher_of(own))
    words = split_words(own, ["the cat runs"])
    method.editor(given)(words)
    assert given.notes == [Fact.of("data.synonyms_of", "teacher", neighbours=5)]
    with pytest.raises(DataError, match="pip install nltk"):
        SynonymReplacement(source="wordnet").editor(given)


def test_synonyms_of_wordnet_are_single_words_without_the_word(monkeypatch):
    class Named:
        def __init__(self, name):
            self.name = lambda: name

    meaning = type("Meaning", (), {"lemmas": lambda _: [Named(name) for name in ("Cat", "true_cat", "feline")]})()
    reader = type("Reader", (), {"synsets": lambda *_: [meaning]})()
    monkeypatch.setattr(wordnet, "wordnet", lambda: reader)
    assert wordnet.wordnet_synonyms.__wrapped__("cat") == ("feline",)


def test_the_file_is_part_of_the_key(file, tmp_path):
    method = SynonymReplacement(source=file.name)
    before = method.file_hashes(tmp_path)
    file.write_text("word,synonyms\ncat,kitten\n", encoding="utf-8")
    assert method.file_hashes(tmp_path) != before
