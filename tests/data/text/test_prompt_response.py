"""Prompts and responses as tokens apart, against tokens of their texts."""

import json

import pytest

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.core.signature import RESPONSE, SEQUENCE
from compress.data.batch import BYTES, TARGET
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.packing import end_token
from compress.data.text.prompt_response import prompt_response_split
from compress.data.text.settings import Lengths
from compress.data.text.table import TextTable
from tests.data.text.test_responses import PROMPTS, RESPONSES, TABLE, tokenizer


def samples(made, lengths=None, table=TABLE):
    found = prompt_response_split(table, made, lengths or Lengths(typical=8, most=64), "training")
    (batch,) = found.split.ordered(1000)
    ids = [row[mask > 0].tolist() for row, mask in zip(batch.inputs["input_ids"], batch.inputs["attention_mask"], strict=True)]
    targets = [row[row >= 0].tolist() for row in batch.targets[TARGET]]
    read = [row[: len(y)].tolist() for row, y in zip(batch.inputs["decoder_input_ids"], targets, strict=True)]
    return found, list(zip(ids, read, targets, batch.targets[BYTES].tolist(), strict=True))


def test_the_encoder_reads_the_prompt_and_the_decoder_the_response_one_place_later():
    made = tokenizer()
    end = end_token(made)
    for (ids, read, target, size), prompt, response in zip(samples(made)[1], PROMPTS, RESPONSES, strict=True):
        assert ids == [*made.tokenizer.encode(prompt).ids, end]
        assert target == [*made.tokenizer.encode(response).ids, end]
        assert read == [made.pad_id, *target[:-1]]
        assert size == len(response.encode())


def test_longer_texts_are_cut_counted_or_refused():
    made = tokenizer()
    found, rows = samples(made, Lengths(typical=4, most=6))
    assert all(len(ids) == 6 and ids[-1] == end_token(made) for ids, *_ in rows)
    assert all(len(target) == 6 and end_token(made) not in target for _, _, target, _ in rows)
    assert [(fact.code, fact.values["count"], fact.values["most"]) for fact in found.facts] == [
        ("data.sources_cut", 20, 6),
        ("data.answers_cut", 20, 6),
    ]
    with pytest.raises(DataError, match=r"row 0: a prompt of \d+ tokens or a response of \d+ is longer than 6 tokens; raise"):
        samples(made, Lengths(typical=4, most=6, overlong="refuse"))


def test_an_empty_prompt_is_its_end_and_counted():
    made = tokenizer()
    found, rows = samples(made, table=TextTable(["", "a"], ["b", ""]))
    assert rows[0][0] == rows[1][2] == [end_token(made)]
    assert found.encoded.empty == 1


def test_the_data_of_a_recipe_have_both_axes_and_the_end(tmp_path):
    rows = [{"q": prompt, "a": response} for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"prompt": "q", "response": "a", "targets": "responses"}
    settings = {"source": "jsonl:rows.jsonl", "columns": columns, "lengths": {"typical": 8, "most": 48}}
    data = load_data(DataSettings(**settings), base=tmp_path)
    shapes = {each.name: each.shape[1] for each in data.spec.signature.inputs}
    assert shapes == {"input_ids": SEQUENCE, "attention_mask": SEQUENCE, "decoder_input_ids": RESPONSE}
    assert data.spec.signature.sizes[RESPONSE] == data.spec.signature.sizes[SEQUENCE] == (1, 8, 48)
    assert data.spec.text.end_token is not None
    assert data.spec.text.prompt is None
    for changed, words in (
        ({"lengths": {"prompt": 8, "most": 48, "typical": 8}}, "leave `lengths.prompt` out"),
        ({"chat_template": "{{ messages }}"}, "without a chat template"),
    ):
        with pytest.raises(DataError, match=words):
            load_data(DataSettings(**{**settings, **changed}), base=tmp_path)
