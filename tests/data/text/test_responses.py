"""Prompts and responses as tokens, against tokens of their texts."""

import json

import pytest
import torch

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.data.batch import BYTES, TARGET
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.text.cells import ChatMessage
from compress.data.text.chat_template import ChatTemplate
from compress.data.text.packing import end_token
from compress.data.text.responses import around_prompt, fitted, response_split
from compress.data.text.settings import Columns, Lengths, TrainedTokenizer
from compress.data.text.table import TextTable
from compress.data.text.train_tokenizer import train_tokenizer

PROMPTS = [f"what is number {index} of the café?" for index in range(20)]
RESPONSES = [f"it is the {word} one 日本" for word in ("old", "new", "red", "big") * 5]
PLAIN = ChatTemplate("{% for m in messages %}{{ '[' + m.role + '] ' + m.content + '\n' }}{% endfor %}")
TABLE = TextTable(PROMPTS, RESPONSES, origin=[f"row {number}" for number in range(20)])


def tokenizer(most=64):
    settings = TrainedTokenizer(train="bpe", vocabulary=320, lowercase=False)
    return train_tokenizer(settings, [*PROMPTS, *RESPONSES], most, adds_special=False)


def samples(made, template=None, lengths=None, table=TABLE):
    found = response_split(table, made, lengths or Lengths(typical=8, most=64), template, "training")
    (batch,) = found.split.ordered(1000)
    rows = [
        (ids[mask > 0].tolist(), target[mask > 0].tolist(), int(size))
        for ids, mask, target, size in zip(
            batch.inputs["input_ids"], batch.inputs["attention_mask"], batch.targets[TARGET], batch.targets[BYTES], strict=True
        )
    ]
    return found, rows


def test_targets_are_the_response_and_its_end_alone():
    made = tokenizer()
    _, rows = samples(made)
    for (ids, target, size), prompt, response in zip(rows, PROMPTS, RESPONSES, strict=True):
        before = made.tokenizer.encode(f"{prompt}\n", add_special_tokens=False).ids
        answer = made.tokenizer.encode(response, add_special_tokens=False).ids
        assert ids == [*before, *answer]
        assert target == [-100] * (len(before) - 1) + [*answer, end_token(made)]
        assert size == len(response.encode())


def test_a_prompt_that_ends_in_white_space_gets_no_new_line():
    made = tokenizer()
    _, rows = samples(made, table=TextTable(["answer: "] * 2, ["red"] * 2))
    assert made.tokenizer.decode(rows[0][0]) == "answer: red"


def test_a_template_writes_the_prompt_and_its_end_is_learned():
    from tokenizers import AddedToken

    made = tokenizer()
    made.tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    closed = ChatTemplate(
        "{% for m in messages %}{{ m.role + ': ' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    end = made.tokenizer.token_to_id("<|end|>")
    table = TextTable(
        ["", ""],
        targets=[
            [
                ChatMessage("user", "hi"),
                ChatMessage("assistant", "red"),
                ChatMessage("user", "so"),
                ChatMessage("assistant", "big"),
            ]
        ]
        * 2,
    )
    found, rows = samples(made, closed, table=table)
    ids, target, size = rows[0]
    learned = [token for token in target if token >= 0]
    assert made.tokenizer.decode(ids, skip_special_tokens=False).startswith("user: hi<|end|>\nassistant: red<|end|>\nuser: so")
    assert made.tokenizer.decode(learned, skip_special_tokens=False) == "red<|end|>big<|end|>"
    assert learned.count(end) == 2
    assert size == len("redbig")
    assert found.facts == ()


def test_a_template_without_an_end_gets_the_tokenizers_own():
    made = tokenizer()
    open_ended = ChatTemplate("{{ messages[0].content }}|{% if messages[1] %}{{ messages[1].content }}{% endif %}")
    _, rows = samples(made, open_ended)
    assert rows[0][1][-1] == end_token(made)


@pytest.mark.parametrize(("most", "prompt"), [(12, None), (24, 4), (9, None), (8, 3)])
def test_samples_that_are_too_long_keep_the_end_of_the_prompt_and_the_beginning_of_the_response(most, prompt):
    made = tokenizer()
    lengths = Lengths(typical=8, most=most, prompt=prompt)
    found, rows = samples(made, lengths=lengths)
    whole = samples(made)[1]
    cut_prompts = cut_responses = 0
    for (ids, target, _), (all_ids, all_targets, _) in zip(rows, whole, strict=True):
        assert len(ids) <= most
        start = next(place for place, token in enumerate(target) if token >= 0) + 1
        true_start = next(place for place, token in enumerate(all_targets) if token >= 0) + 1
        answer = [token for token in all_targets if token >= 0]
        assert ids[:start] == all_ids[true_start - start : true_start]
        learned = [token for token in target if token >= 0]
        assert learned == answer[: len(learned)]
        if prompt is not None:
            assert start <= prompt
        elif start < true_start:
            assert start >= min(true_start, most // 2)
        cut_prompts += start < true_start
        cut_responses += len(learned) < len(answer)
    counts = {fact.code: fact.values["count"] for fact in found.facts}
    assert counts.get("data.prompts_cut", 0) == cut_prompts
    assert counts.get("data.responses_cut", 0) == cut_responses
    assert cut_prompts + cut_responses > 0
    with pytest.raises(DataError, match=r"row 0: a prompt of \d+ tokens and a response of \d+ do not fit"):
        samples(made, lengths=lengths.model_copy(update={"overlong": "refuse"}))


def test_fitted_leaves_what_fits():
    made = tokenizer()
    from compress.data.text.responses import Tokens

    size = 10
    tokens = Tokens(torch.arange(size).numpy(), (torch.arange(size) > 5).numpy(), torch.ones(size).long().numpy(), 6)
    kept, prompt_cut, response_cut = fitted(tokens, Lengths(typical=2, most=9))
    assert (kept.ids.tolist(), prompt_cut, response_cut) == (list(range(size)), False, False)
    assert made.max_length == 64


def test_empty_prompts_and_responses_are_samples_that_can_be_learned():
    made = tokenizer()
    found, rows = samples(made, ChatTemplate("{{ messages[0].content }}"), table=TextTable(["", "a"], ["", "b"]))
    assert found.encoded.empty >= 1
    assert all(len(ids) >= 1 and max(target) >= 0 for ids, target, _ in rows)


def write_rows(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def settings_for(path, columns, **fields):
    return DataSettings(
        source=f"jsonl:{path}",
        columns=Columns(targets="next", **columns),
        tokenizer=TrainedTokenizer(train="bpe", vocabulary=320, lowercase=False),
        lengths=Lengths(typical=8, most=64),
        **fields,
    )


def test_files_of_prompts_and_of_conversations_give_the_same_samples(tmp_path):
    pairs = write_rows(tmp_path / "pairs.jsonl", [{"q": q, "a": a} for q, a in zip(PROMPTS, RESPONSES, strict=True)])
    talks = [
        {"talk": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in zip(PROMPTS, RESPONSES, strict=True)
    ]
    chats = write_rows(tmp_path / "chats.jsonl", talks)
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    template += "{% if add_generation_prompt %}assistant: {% endif %}"
    first = load_data(settings_for(pairs, {"prompt": "q", "response": "a"}, chat_template=template), base=tmp_path)
    second = load_data(settings_for(chats, {"messages": "talk"}, chat_template=template), base=tmp_path)
    assert first.spec.text.prompt == second.spec.text.prompt == ("user: ", "\nassistant: ")
    assert {first.spec.text.end_token, second.spec.text.end_token} == {"[SEP]"}
    for one, other in ((first.train, second.train), (first.test, second.test)):
        (a,), (b,) = one.ordered(100), other.ordered(100)
        assert [int((x >= 0).sum()) for x in a.targets[TARGET]] == [int((x >= 0).sum()) for x in b.targets[TARGET]]
    assert "chat_template.jinja" in first.files
    plain = load_data(settings_for(pairs, {"prompt": "q", "response": "a"}), base=tmp_path)
    assert plain.spec.text.prompt == ("", "\n")
    assert "chat_template.jinja" not in plain.files


def test_conversations_without_a_template_or_in_another_form_are_refused(tmp_path):
    chats = write_rows(tmp_path / "c.jsonl", [{"talk": [{"role": "assistant", "content": "x"}]}] * 20)
    with pytest.raises(DataError, match="the tokenizer has no chat template"):
        load_data(settings_for(chats, {"messages": "talk"}), base=tmp_path)
    bad = write_rows(tmp_path / "b.jsonl", [{"talk": "hello"}] * 20)
    with pytest.raises(DataError, match=r"b.jsonl line 1: the column talk holds no conversation: hello"):
        load_data(settings_for(bad, {"messages": "talk"}), base=tmp_path)
    with pytest.raises(DataError, match="no column 'question'"):
        load_data(settings_for(bad, {"prompt": "question", "response": "talk"}), base=tmp_path)


def test_the_text_around_a_prompt_leaves_out_what_the_tokenizer_adds():
    from tokenizers.processors import TemplateProcessing

    made = tokenizer()
    begin = made.tokenizer.token_to_id("[CLS]")
    made.tokenizer.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", begin)])
    template = ChatTemplate("{{ bos_token }}user: {{ messages[0].content }}!", {"bos_token": "[CLS]"})
    assert around_prompt(made, template) == ("user: ", "!")
    _, rows = samples(made, table=TextTable(["a", "b"], ["c", "d"]))
    assert rows[0][0].count(begin) == 1
