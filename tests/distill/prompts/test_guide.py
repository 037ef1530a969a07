"""Prompts of templates: every combination once, prompts of the data in one template each."""

from collections import Counter

import pytest

from compress.distill.prompts.guide import DataPrompt, Guide, evaluation_prompts, fill, training_prompts

DATA = [DataPrompt(f"q{number}", f"a{number}") for number in range(40)]
WORDS = Guide(templates=("Explain {topic} to {who}.", "What is {topic}?"), held_out=("{who}: {topic}",),
              fields={"topic": ("ice", "fire", "air"), "who": ("me", "you")})  # fmt: skip


def test_all_combinations_are_asked_once():
    prompts = [each.prompt for each in training_prompts(WORDS, [], 0)]
    assert len(prompts) == len(set(prompts)) == 3 * 2 + 3
    assert "Explain fire to you." in prompts
    assert "What is air?" in prompts
    few = training_prompts(WORDS.model_copy(update={"count": 4}), [], 0)
    assert len({each.prompt for each in few}) == 4
    assert {each.prompt for each in few} < set(prompts)
    held = evaluation_prompts(WORDS, [], 0)
    assert {each.template for each in held} == {"{who}: {topic}"}
    assert len(held) == 6
    assert all(each.reference is None for each in (*few, *held))


def test_each_prompt_of_the_data_is_asked_in_one_template():
    guide = Guide(
        templates=("{prompt}", "Now: {prompt} {tone}"), held_out=("So {prompt}",), fields={"tone": ("!", "?")}, evaluation=5
    )
    prompts = training_prompts(guide, DATA, 1)
    assert [each.reference for each in prompts] == [each.response for each in DATA]
    assert all(data.prompt in each.prompt for each, data in zip(prompts, DATA, strict=True))
    assert set(Counter(each.template for each in prompts)) == set(guide.templates)
    assert prompts == training_prompts(guide, DATA, 1) != training_prompts(guide, DATA, 2)
    held = evaluation_prompts(guide, DATA, 1)
    assert [each.template for each in held] == [template for template in (*guide.templates, "So {prompt}") for _ in range(5)]
    assert held[-1] == ("So q4", "So {prompt}", "a4")


@pytest.mark.parametrize(("count", "sources"), [(10, 10), (100, 40)])
def test_a_count_takes_fewer_prompts_or_the_same_several_times(count, sources):
    prompts = training_prompts(Guide(count=count), DATA, 0)
    assert len(prompts) == count
    assert len({each.prompt for each in prompts}) == sources


def test_braces_of_the_text_stand_twice():
    assert fill("{{{prompt}}}", {"prompt": "{x}"}) == "{{x}}"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"templates": ["{prompt.__class__}"]}, "is no name of a field"),
        ({"templates": ["{prompt[0]}"]}, "is no name of a field"),
        ({"templates": ["{}"]}, "is no name of a field"),
        ({"templates": ["{prompt!r}"]}, "has a format"),
        ({"templates": ["{prompt"]}, "write a brace of the text twice"),
        ({"templates": [" "]}, "is empty"),
        ({"templates": ["{word}"]}, "has the field 'word', which has no values"),
        ({"templates": ["{prompt}", "none"]}, "write it in all"),
        ({"templates": ["{prompt}"], "held_out": ["{prompt}"]}, "is held out and trained on"),
        ({"fields": {"prompt": ["a"]}}, "give the field another name"),
    ],
)
def test_faults_of_templates_are_named(fields, fault):
    with pytest.raises(ValueError, match=fault):
        Guide(**fields)
