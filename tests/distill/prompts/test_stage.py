"""The stage `generate` in a chain: a network writes with a prompt, and the network that learns has none."""

import json
from dataclasses import replace

import pytest
import torch

pytest.importorskip("transformers")

from compress.backends.decoder.greedy_texts import greedy_texts
from compress.config.recipe import loads
from compress.core.errors import CompressError, DataError, RecipeError
from compress.core.stage import Candidate
from compress.data.text.context_tokens import context_tokens, prompt_tokens, text_origin
from compress.data.text.generated_train import read_rows, with_generated_train
from compress.data.text.packing import end_token
from compress.data.text.prompt_context import PromptContext
from compress.data.text.prompt_response import source_tokens
from compress.distill.generation.generated_texts import PROMPTED, GeneratedTexts
from compress.distill.generation.written_batches import prompts_of
from compress.distill.prompts.generate_texts import ORIGIN_FILE
from compress.distill.prompts.stage import Generate
from compress.distill.prompts.template_prompts import read_template_prompts
from compress.tasks.text.causal_language_model import CausalLanguageModel
from compress.tasks.text.generated_text import GeneratedText
from tests.backends.tiny_decoder import network
from tests.distill.generation.test_prepare import context  # noqa: F401  # a fixture
from tests.export.encoder_decoder_artifacts import MOST

SYSTEM = {"system": "a cat sat"}


def run(context, *, task=None, teachers=(1,), **fields):  # noqa: F811
    task = task or context.task
    spec = task.complete_spec(context.data.spec)
    teachers = tuple(Candidate(spec, network(seed=seed, size=320)) for seed in teachers)
    ready = replace(context, data=replace(context.data, spec=spec), task=task.for_spec(spec), teachers=teachers)
    return Generate(max_new_tokens=5, **fields).run(Candidate(spec, network(size=320)), ready), ready


def greedy(module, prompt, tokenizer, before):
    """Text of the likeliest tokens after the context and the prompt, one whole pass for each token."""
    import torch

    _, given = context_tokens(before, tokenizer)
    tokens = [*given.tolist(), *prompt_tokens([prompt], tokenizer)[0].tolist()]
    written = []
    end = tokenizer.tokenizer.token_to_id(tokenizer.end_token or "<|endoftext|>")
    while len(written) < 5 and (not written or written[-1] != end):
        ids = torch.tensor([tokens + written])
        written.append(int(module(ids, torch.ones_like(ids))[0, -1].argmax()))
    return tokenizer.tokenizer.decode(written).strip()


@pytest.mark.parametrize("writer", ["teacher", "parent"])
def test_the_texts_are_those_that_the_network_writes_after_the_prompt(context, writer):  # noqa: F811
    outcome, ready = run(context, writer=writer, before=SYSTEM)
    rows = read_rows(outcome.training_set)
    origin = text_origin(context.data.train, "x")
    module = (ready.teachers[0] if writer == "teacher" else outcome.candidate).network()
    expected = [greedy(module, prompt, origin.tokenizer, PromptContext(**SYSTEM)) for prompt in origin.table.texts]
    assert [row.prompt for row in rows] == list(origin.table.texts)
    assert [row.response for row in rows] == expected
    assert outcome.results["texts_generated"].value == outcome.results["texts_kept"].value == len(rows)
    known = json.loads((context.folder / ORIGIN_FILE).read_text())
    assert known["writer"] == writer
    assert known["settings"]["before"]["system"] == SYSTEM["system"]


def test_later_stages_train_on_the_prompts_without_the_system_message(context):  # noqa: F811
    outcome, ready = run(context, before=SYSTEM, guide={"templates": ["Well, {prompt}"]}, with_data=True)
    data = with_generated_train(ready.data, outcome.training_set)
    origin = text_origin(data.train, "x")
    count = len(context.data.train)
    assert list(origin.table.texts) == [f"Well, {text}" for text in origin.table.texts[count:]] + origin.table.texts[count:]
    batch = next(iter(data.train.ordered(100)))
    assert [row.tolist() for row in prompts_of(batch)] == [
        row.tolist() for row in prompt_tokens(origin.table.texts, origin.tokenizer)
    ]
    again = replace(ready, data=data)
    second = Generate(max_new_tokens=5).run(outcome.candidate, replace(again, folder=ready.cache / "second"))
    assert [row.prompt for row in read_rows(second.training_set)] == list(text_origin(context.data.train, "x").table.texts)


def test_reasoning_is_learned_with_the_answer_or_left_out(context, tmp_path):  # noqa: F811
    answers = tmp_path / "answers.jsonl"
    prompts = text_origin(context.data.train, "x").table.texts
    rows = [
        {"prompt": prompt, "response": [f"It is so. Answer: {n % 2}", "no answer here"]} for n, prompt in enumerate(prompts)
    ]
    answers.write_text("\n".join(map(json.dumps, rows)))
    fields = {"writer": {"file": {"path": str(answers)}}, "samples": 2, "filters": ["length", "duplicates"]}
    outcome, _ = run(context, answer={"after": "Answer:"}, **fields)
    assert [row.response for row in read_rows(outcome.training_set)] == [row["response"][0] for row in rows]
    removed = outcome.tables["text_filters"][0]
    assert (removed["filter"], removed["removed"]) == ("answer", len(rows))
    assert removed["example"].endswith("→ no answer here")
    outcome, _ = run(context, answer={"after": "Answer:", "learn": "answer"}, **fields)
    assert [row.response for row in read_rows(outcome.training_set)] == [str(n % 2) for n in range(len(rows))]


def test_the_prompted_network_and_templates_are_scored_on_validation(context):  # noqa: F811
    task = CausalLanguageModel(generated=GeneratedText(prompts=9, max_new_tokens=5))
    guide = {"templates": ["{prompt}", "Q: {prompt}"], "held_out": ["So {prompt}"], "evaluation": 1}
    outcome, ready = run(context, task=task, before=SYSTEM, guide=guide)
    assert outcome.results["prompted_exact_match"].runs == len(context.data.validation)
    texts = GeneratedTexts.read(context.folder, PROMPTED)
    origin = text_origin(context.data.validation, "x")
    module = ready.teachers[0].network()
    assert [text.strip() for text in texts.texts] == [
        greedy(module, prompt, origin.tokenizer, PromptContext(**SYSTEM)) for prompt in origin.table.texts
    ]
    prompts = read_template_prompts(context.folder)
    first = origin.table.texts[0]
    assert [(each.prompt, each.held_out) for each in prompts] == [(first, False), (f"Q: {first}", False), (f"So {first}", True)]
    assert {each.reference for each in prompts} == {origin.table.pairs[0]}


def test_the_writer_answers_held_out_templates_without_data(context):  # noqa: F811
    task = CausalLanguageModel(generated=GeneratedText(max_new_tokens=5))
    guide = {"templates": ["Say {word}"], "held_out": ["Tell {word}"], "fields": {"word": ["cat", "sky"]}}
    outcome, ready = run(context, task=task, guide=guide)
    assert [row.prompt for row in read_rows(outcome.training_set)] == ["Say cat", "Say sky"]
    tokenizer = text_origin(context.data.train, "x").tokenizer
    module = ready.teachers[0].network()
    for each in read_template_prompts(context.folder):
        assert each.reference.strip() == greedy(module, each.prompt, tokenizer, PromptContext())


def test_filters_that_leave_nothing_are_named(context):  # noqa: F811
    with pytest.raises(DataError, match=r"0 of \d+ texts are left to train on, at least 2 needed; removed by length \d+"):
        run(context, filters=[{"length": {"least": 1000}}])
    outcome, _ = run(replace(context, smoke=True), filters=[{"length": {"least": 1000}}])
    assert [note.code for note in outcome.notes] == ["train.smoke_keeps_texts"]


def test_a_teacher_that_the_recipe_has_not_is_named(context):  # noqa: F811
    with pytest.raises(CompressError, match="writer `teacher` is the teacher of the recipe, which has none"):
        run(context, teachers=())


RECIPE = """
name: a
task: causal_language_model
data: {{source: "word_tasks:reverse", columns: {{prompt: word, response: answer}}}}
model: {{source: "decoder:tiny"}}
stages: [{{generate: {{{fields}}}}}, train]
"""


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ("writer: parent, samples: 3", "3 texts of the likeliest tokens are equal; set a temperature"),
        ("writer: parent, guide: {templates: [a], fields: {}}, filters: [right_answer]", "the templates have no {prompt}"),
        ("writer: {endpoint: {url: 'http://localhost:1/v1', model: m}}", "would send prompts to http://localhost:1/v1"),
        ("", "generate lets the teacher write, but the recipe has no teacher"),
    ],
)
def test_faults_of_a_recipe_are_named_before_it_runs(tmp_path, fields, fault):
    with pytest.raises(RecipeError, match=fault):
        loads(RECIPE.format(fields=fields), base=tmp_path)
    loads(RECIPE.format(fields="writer: {endpoint: {url: 'http://localhost:1/v1', model: m}}"), base=tmp_path, trust_code=True)


def test_an_encoder_decoder_writes_targets_for_sources(response_artifact, tmp_path):
    _, outcome, module, context = response_artifact  # noqa: F811
    candidate = Candidate(outcome.candidate.spec, module)
    ready = replace(context, folder=tmp_path, teachers=(candidate,))
    made = Generate(max_new_tokens=6, guide={"templates": ["{prompt}", "the {prompt}"]}).run(candidate, ready)
    rows = read_rows(made.training_set)
    origin = text_origin(context.data.train, "x")
    assert sorted(row.prompt.removeprefix("the ") for row in rows) == sorted(origin.table.texts)
    sources = [torch.from_numpy(each) for each in source_tokens([row.prompt for row in rows], origin.tokenizer, MOST)]
    end = end_token(origin.tokenizer)
    expected = greedy_texts(module, sources, end=end, most=MOST, max_new_tokens=6)
    assert [row.response for row in rows] == [origin.tokenizer.tokenizer.decode(each).strip() for each in expected]
    data = with_generated_train(context.data, made.training_set)
    batch = next(iter(data.train.ordered(100)))
    assert [row.tolist() for row in prompts_of(batch)] == [source.tolist() for source in sources]
    assert batch.inputs["decoder_input_ids"].shape == batch.targets["target"].shape
    with pytest.raises(DataError, match="reads prompts with an encoder"):
        Generate(before=SYSTEM).run(candidate, ready)
