"""Tables of texts through the data block of a recipe, for each task of parts of texts."""

import csv
import json

import pytest

pytest.importorskip("tokenizers")

from compress.config.text_data import complete_text_data
from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.settings import Columns, Lengths, Masking, TrainedTokenizer
from compress.data.text.task_splits import mask_token
from compress.data.text.tokenizer import TextTokenizer
from compress.pipeline.task_data import check_targets, data_for_task
from compress.tasks.choice import TaskChoice

SMALL = TrainedTokenizer(train="wordpiece", vocabulary=120)
PEOPLE = ("anna", "bob", "carl", "dora")


def write(path, header, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def loaded(path, task, **fields):
    chosen = TaskChoice.read(task).make()
    settings = DataSettings(source=f"csv:{path}", **{"tokenizer": SMALL, "lengths": Lengths(typical=8, most=24), **fields})
    settings = complete_text_data(settings, [], chosen, path.parent)
    data = data_for_task(load_data(settings, base=path.parent), chosen)
    check_targets(chosen, data)
    return data


def tag_rows(count=40):
    for index in range(count):
        yield f"{PEOPLE[index % 4]} meets {PEOPLE[index % 3]} today {index}", "B-PER O B-PER O O"


def test_tags(tmp_path):
    path = write(tmp_path / "t.csv", ("words", "tags"), tag_rows())
    data = loaded(path, "token_classification", columns=Columns(text="words", target="tags"))
    assert data.spec.classes == ("O", "B-PER")
    batch = next(iter(data.train.ordered(4)))
    assert batch.targets["target"].shape == batch.inputs["input_ids"].shape
    assert int((batch.targets["target"] >= 0).sum()) == 20


def test_answers(tmp_path):
    rows = [(f"who meets {name}?", f"today anna{index} meets {name}", f"anna{index}") for index, name in enumerate(PEOPLE * 8)]
    path = write(tmp_path / "t.csv", ("question", "context", "answer"), rows)
    columns = Columns(text="question", text_pair="context", target="answer")
    data = loaded(path, "question_answering", columns=columns, lengths=Lengths(typical=16, most=32, stride=4))
    assert data.spec.text is not None
    assert data.spec.text.pairs
    assert [tensor.name for tensor in data.spec.signature.inputs][-1] == "token_type_ids"
    assert json.loads(data.files["tokenizer.json"])["truncation"]["stride"] == 4


def test_masked_tokens(tmp_path):
    path = write(tmp_path / "t.csv", ("text",), [(text,) for text, _ in tag_rows()])
    data = loaded(path, "masked_language_model", masking=Masking(probability=0.4, whole_words=True, views=3))
    assert data.train.views == 3
    assert data.test.views == 1
    batch = next(iter(data.test.ordered(8)))
    assert 0 < int((batch.targets["target"] >= 0).sum()) < batch.targets["target"].numel()


@pytest.mark.parametrize("pairs", ["scored", "matching"])
def test_pairs(pairs, tmp_path):
    rows = [(text, text.replace("meets", "sees"), index % 5) for index, (text, _) in enumerate(tag_rows())]
    path = write(tmp_path / "t.csv", ("a", "b", "score"), rows)
    columns = Columns(text="a", text_pair="b", **({"target": "score"} if pairs == "scored" else {}))
    data = loaded(path, {"embedding": {"pairs": pairs}}, columns=columns)
    batch = next(iter(data.test.ordered(4)))
    assert ("score" in batch.targets) == (pairs == "scored")
    assert data.spec.text is not None
    assert not data.spec.text.pairs


def test_what_does_not_fit_the_task_is_refused(tmp_path):
    rows = [(text, "", 1) for text, _ in tag_rows()]
    path = write(tmp_path / "t.csv", ("a", "b", "score"), rows)
    with pytest.raises(DataError, match="line 2: a text of the pair is empty"):
        loaded(path, "embedding", columns=Columns(text="a", text_pair="b", target="score"))
    with pytest.raises(DataError, match="vectors of texts are judged on pairs"):
        loaded(path, "embedding", columns=Columns(text="a", target="score"))
    with pytest.raises(DataError, match="the pairs have no scores"):
        loaded(path, "embedding", columns=Columns(text="a", text_pair="a"))
    with pytest.raises(DataError, match=r"line 2: 1 tags for 5 words"):
        loaded(path, "token_classification", columns=Columns(text="a", target="score"))
    with pytest.raises(DataError, match=r"line 2: the answer '1' is not in its text"):
        loaded(path, "question_answering", columns=Columns(text="a", text_pair="b", target="score"))


def test_a_tokenizer_without_a_mask_is_refused():
    from tokenizers import Tokenizer, models

    plain = TextTokenizer.of(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), 8, None)  # noqa: S106
    with pytest.raises(DataError, match=r"no token \[MASK\] or <mask>"):
        mask_token(plain)
