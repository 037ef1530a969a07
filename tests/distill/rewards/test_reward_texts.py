"""Rewards in training: the student writes texts with a larger reward."""

import pytest
import torch

pytest.importorskip("transformers")

from compress.data.text.context_tokens import text_origin
from compress.distill.rewards.base import TextReward
from compress.distill.rewards.reward_texts import TokenRewards
from tests.distill.generation.test_prepare import context  # noqa: F401  # a fixture
from tests.distill.generation.test_stage import run


class Length(TextReward):
    """Characters of the text."""

    def rewards(self, texts, context):  # noqa: ARG002, F811
        return [float(len(each.text)) for each in texts]


def test_the_last_token_has_the_reward_of_the_text(context):  # noqa: F811
    tokenizer = text_origin(context.data.train, "x").tokenizer.tokenizer
    texts = [torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids) for text in ("a cat", "blue")]
    rows = TokenRewards(Length(), tokenizer, context).of(texts, texts, texts)
    assert [len(row) for row in rows] == [len(text) for text in texts]
    assert [float(row[-1]) for row in rows] == [float(len(tokenizer.decode(text.tolist()))) for text in texts]
    assert all(float(row[:-1].abs().sum()) == 0.0 for row in rows)


def test_a_reward_and_a_loss_by_it_need_each_other():
    from compress.distill.stage import Distill

    with pytest.raises(ValueError, match=r"loss `environment_reward` learns from the reward of an environment"):
        Distill(losses=["environment_reward"], generation={"student": 1.0})
    with pytest.raises(ValueError, match="no loss uses the reward"):
        Distill(losses=["minillm"], generation={"student": 0.5, "reward": "rouge_l"})
    Distill(losses=[{"minillm": {"reward_weight": 0.5}}], generation={"student": 0.5, "reward": "rouge_l"})


@pytest.mark.parametrize(
    "losses",
    [["environment_reward"], [{"minillm": {"reward_weight": 5.0}}], [{"llmr": {"reward_weight": 5.0}}]],
    ids=["alone", "minillm", "llmr"],
)
def test_the_reward_of_the_texts_grows(context, losses):  # noqa: F811
    fields = {"losses": losses, "generation": {"student": 1.0, "max_new_tokens": 4, "reward": Length()}}
    rewards = [run(context, **fields | {"epochs": epochs}).results["reward"].value for epochs in (1, 20)]
    assert rewards[1] > rewards[0]
