"""Texts of a network to validation prompts, in its file and compared with the parent's."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers")

from compress.core.errors import DataError
from compress.core.stage import Candidate
from compress.distill.generation.generated_texts import PROMPTED, GeneratedTexts
from compress.distill.prompts.template_prompts import TEMPLATES, TemplatePrompt
from compress.pipeline.generated_texts import measure_generated, parent_of
from compress.tasks.text.causal_language_model import CausalLanguageModel
from compress.tasks.text.generated_text import GeneratedText
from tests.backends.tiny_decoder import network
from tests.distill.generation.test_prepare import context  # noqa: F401  # a fixture


def candidate(seed=0):
    return Candidate(None, network(seed=seed, size=320))


def asking(context, folder, prompts=50):  # noqa: F811
    (context.folder / folder).mkdir()
    task = CausalLanguageModel(generated=GeneratedText(prompts=prompts, max_new_tokens=5))
    return replace(context, task=task, folder=context.folder / folder)


def parent(folder):
    return SimpleNamespace(origin=SimpleNamespace(folder=folder), record=SimpleNamespace(name="train"))


def test_the_texts_are_in_the_folder_with_prompt_and_reference(context):  # noqa: F811
    own = asking(context, "own")
    results, tables = measure_generated(candidate(), own, None)
    assert tables == {}
    texts = GeneratedTexts.read(own.folder)
    assert len(texts.texts) == len(context.data.validation)
    assert all(texts.references)
    assert all(texts.prompts)
    assert results["rouge_l"].runs == len(texts.texts)
    assert results["generated_tokens"].value == pytest.approx(sum(map(len, texts.tokens)) / len(texts.tokens))
    assert "greedy_agreement" not in results


def test_a_network_agrees_with_itself_and_less_with_another(context):  # noqa: F811
    first, second = asking(context, "first"), asking(context, "second")
    before = measure_generated(candidate(), first, None)[0]
    same = measure_generated(candidate(), second, parent(first.folder))[0]
    assert same["greedy_agreement"].value == same["identical_texts"].value == 1.0
    assert same["first_divergence"].value == before["generated_tokens"].value
    assert same["rouge_l_drop"].value == 0.0
    other = measure_generated(candidate(seed=1), second, parent(first.folder))[0]
    assert other["greedy_agreement"].value < 1.0
    assert other["first_divergence"].value < before["generated_tokens"].value


def test_texts_of_other_prompts_or_tokens_are_not_compared(context):  # noqa: F811
    first, second = asking(context, "first", prompts=1), asking(context, "second", prompts=2)
    measure_generated(candidate(), first, None)
    assert "greedy_agreement" not in measure_generated(candidate(), second, parent(first.folder))[0]
    assert len(GeneratedTexts.read(first.folder).texts) == 1


def test_a_task_without_the_option_writes_nothing(context):  # noqa: F811
    assert measure_generated(candidate(), context, None) == ({}, {})
    assert GeneratedTexts.read(context.folder) is None


def test_exact_match_is_given_as_a_share_of_the_prompted_networks(context):  # noqa: F811
    own = asking(context, "own")
    measure_generated(candidate(), own, None)
    texts = GeneratedTexts.read(own.folder)
    prompted = replace(texts, texts=texts.references)
    prompted.save(own.folder, PROMPTED)
    before = SimpleNamespace(folder=own.folder, previous=None)
    second = asking(context, "second")
    assert measure_generated(candidate(), second, None, before)[0]["exact_match_share"].value == 0.0
    texts.save(own.folder, PROMPTED)
    assert measure_generated(candidate(), second, None, before)[0]["exact_match_share"].value is None


def test_templates_of_an_earlier_stage_are_measured(context):  # noqa: F811
    own = asking(context, "own")
    rows = [TemplatePrompt("{prompt}", False, "What?", "no"), TemplatePrompt("So {prompt}", True, "So What?", "no")]
    (own.folder / TEMPLATES).write_text("".join(json.dumps(row._asdict()) + "\n" for row in rows))
    before = SimpleNamespace(folder=own.folder / "later", previous=SimpleNamespace(folder=own.folder, previous=None))
    results, tables = measure_generated(candidate(), own, None, before)
    assert results["held_out_exact_match"].runs == 1
    assert [(row["template"], row["held_out"], row["prompts"]) for row in tables["templates"]] == [
        ("{prompt}", False, 1),
        ("So {prompt}", True, 1),
    ]


def test_data_without_prompts_are_refused(context):  # noqa: F811
    own = asking(context, "own")
    bare = replace(own.data, validation=SimpleNamespace())
    with pytest.raises(DataError, match=r"task.generated: responses are written to prompts, and the data have none"):
        measure_generated(candidate(), replace(own, data=bare), None)


def test_the_parent_of_a_file_is_the_last_torch_network_and_of_a_network_the_reference():
    network_output, file_output = (
        SimpleNamespace(record=SimpleNamespace(form=form), previous=None) for form in ("torch", "onnx")
    )
    file_output.previous = network_output
    reference = object()
    assert parent_of(Candidate(None, None, {}), file_output, reference) is network_output
    assert parent_of(candidate(), file_output, reference) is reference
