"""Rewards of texts by metrics and by a function."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import sacrebleu

from compress.core.errors import CompressError, TrustError
from compress.distill.rewards.base import RewardedText
from compress.distill.rewards.bleu import BleuReward
from compress.distill.rewards.exact_match import ExactMatchReward
from compress.distill.rewards.function import FunctionReward
from compress.distill.rewards.rouge_l import RougeLReward

TEXTS = [RewardedText("p", "a cat sat", "a cat sat down"), RewardedText("q", " a dog ", "a dog"), RewardedText("r", "", "x")]
HERE = SimpleNamespace(base=Path(), trust_code=False)
CODE = """
def length(prompt, text, reference):
    return len(text) - len(reference)

def broken(prompt, text, reference):
    raise KeyError(prompt)

def none(prompt, text, reference):
    return None

def infinite(prompt, text, reference):
    return float("inf")
"""


def test_metrics_are_those_of_single_texts():
    assert ExactMatchReward().rewards(TEXTS, HERE) == [0.0, 1.0, 0.0]
    assert RougeLReward().rewards(TEXTS, HERE) == pytest.approx([2 * 3 / 7, 1.0, 0.0])
    expected = [sacrebleu.sentence_bleu(each.text, [each.reference]).score / 100 for each in TEXTS]
    assert BleuReward().rewards(TEXTS, HERE) == pytest.approx(expected)
    assert all(0.0 <= value <= 1.0 + 1e-9 for value in expected)


def test_a_function_gets_prompt_text_and_reference(tmp_path):
    (tmp_path / "judge.py").write_text(CODE)
    reward = FunctionReward(function="python:judge.py:length")
    assert reward.rewards(TEXTS, SimpleNamespace(base=tmp_path, trust_code=True)) == [-5.0, 2.0, -1.0]
    with pytest.raises(TrustError):
        reward.rewards(TEXTS, SimpleNamespace(base=tmp_path, trust_code=False))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("broken", "KeyError: 'p'"),
        ("none", "it returned None, not a finite number"),
        ("infinite", "it returned 'inf', not a finite number"),
    ],
)
def test_a_function_that_fails_is_named_with_the_sample(tmp_path, name, fault):
    (tmp_path / "judge.py").write_text(CODE)
    reward = FunctionReward(function=f"python:judge.py:{name}")
    with pytest.raises(CompressError, match=rf"judge.py:{name} failed on prompt 'p' with the text 'a cat sat': {fault}"):
        reward.rewards(TEXTS, SimpleNamespace(base=tmp_path, trust_code=True))
