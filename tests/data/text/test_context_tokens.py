"""Tokens of a context before prompts: those that the data would give for the whole text."""

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.text.context_tokens import check_reads_prompts, context_tokens, prompt_tokens, text_origin
from compress.data.text.prompt_context import PromptContext, PromptExample
from compress.data.text.settings import DECODER_IDS
from compress.data.text.split import IDS
from compress.distill.generation.written_batches import prompts_of
from tests.data.text.test_responses import PROMPTS, RESPONSES, settings_for, write_rows

TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CONTEXT = PromptContext(system="Be brief.", examples=(PromptExample(prompt="one", response="two"),))


def load(folder, **changes):
    path = write_rows(folder / "pairs.jsonl", [{"q": q, "a": a} for q, a in zip(PROMPTS, RESPONSES, strict=True)])
    return load_data(settings_for(path, {"prompt": "q", "response": "a"}, **changes), base=folder)


@pytest.fixture(params=["none", TEMPLATE], ids=["plain", "template"])
def data(tmp_path, request):
    return load(tmp_path, chat_template=request.param)


def test_prompts_have_the_tokens_of_the_data(data):
    origin = text_origin(data.train, "x")
    rows = prompts_of(next(iter(data.train.ordered(100))))
    found = prompt_tokens(origin.table.texts, origin.tokenizer)
    assert [row.tolist() for row in found] == [row.tolist() for row in rows]


def test_the_context_stands_before_the_tokens_of_the_prompt(data):
    origin = text_origin(data.train, "x")
    tokenizer = origin.tokenizer
    own, given = context_tokens(CONTEXT, tokenizer)
    tokens = prompt_tokens(["What?"], tokenizer)[0]
    assert np.array_equal(tokens[: len(own)], own)
    text = tokenizer.tokenizer.decode([*given, *tokens[len(own) :]], skip_special_tokens=True)
    plain = tokenizer.chat is None
    written = "<system>Be brief.\n<user>one\n<assistant>two\n<user>What?\n<assistant>"
    expected = "Be brief.\none\ntwo\nWhat?\n" if plain else written
    assert "".join(text.split()) == "".join(expected.split())
    assert context_tokens(PromptContext(), tokenizer).shift == 0


def test_samples_without_prompts_are_refused(tmp_path):
    data = load(tmp_path)
    with pytest.raises(DataError, match="teacher: responses are written to prompts"):
        text_origin(data.train.inputs[IDS], "teacher")


def test_prompts_of_an_encoder_are_refused(tmp_path):
    data = load(tmp_path)
    check_reads_prompts(data.train, "generate")
    data.train.inputs[DECODER_IDS] = data.train.inputs[IDS]
    with pytest.raises(DataError, match=r"generate: .* this network reads prompts with an encoder"):
        check_reads_prompts(data.train, "generate")
