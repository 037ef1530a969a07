"""Metrics of templates, on a network whose texts are known."""

from dataclasses import replace

import pytest
import torch

pytest.importorskip("transformers")

from compress.data.text.context_tokens import prompt_tokens, text_origin
from compress.distill.prompts.template_prompts import TemplatePrompt
from compress.pipeline.template_metrics import measure_templates
from compress.tasks.text.causal_language_model import CausalLanguageModel
from compress.tasks.text.generated_text import GeneratedText
from tests.distill.generation.test_prepare import context  # noqa: F401  # a fixture


class Fixed(torch.nn.Module):
    """Writes a text, then its end, after each of some prompts."""

    def __init__(self, answers, vocabulary):
        super().__init__()
        self.answers, self.vocabulary = answers, vocabulary

    def forward(self, ids, mask):
        logits = torch.zeros(*ids.shape, self.vocabulary)
        for row, (tokens, count) in enumerate(zip(ids.tolist(), mask.sum(1).tolist(), strict=True)):
            prompt = next(each for each in self.answers if tuple(tokens[: len(each)]) == each)
            logits[row, count - 1, self.answers[prompt][min(count - len(prompt), len(self.answers[prompt]) - 1)]] = 1.0
        return logits


def test_each_template_has_its_own_metrics_and_held_out_ones_one_together(context):  # noqa: F811
    tokenizer = text_origin(context.data.validation, "x").tokenizer
    texts = {"one": "a cat", "two": "a cat", "three": "the sky"}
    end = tokenizer.tokenizer.token_to_id(tokenizer.end_token or "[SEP]")
    answers = {
        tuple(prompt_tokens([prompt], tokenizer)[0].tolist()): [
            *tokenizer.tokenizer.encode(text, add_special_tokens=False).ids,
            end,
        ]
        for prompt, text in texts.items()
    }
    task = CausalLanguageModel(generated=GeneratedText(max_new_tokens=20))
    prompts = [
        TemplatePrompt("A", False, "one", "a cat"),
        TemplatePrompt("B", True, "two", "a cat sat"),
        TemplatePrompt("C", True, "three", "the sky"),
    ]
    results, tables = measure_templates(Fixed(answers, tokenizer.vocabulary), "", replace(context, task=task), prompts)
    assert results["held_out_exact_match"].value == 0.5
    assert results["held_out_rouge_l"].value == pytest.approx((0.8 + 1.0) / 2)
    assert [row["exact_match"]["value"] for row in tables["templates"]] == [1.0, 0.0, 1.0]
