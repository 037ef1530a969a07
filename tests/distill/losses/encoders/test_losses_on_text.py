"""Every registered loss on a pair of encoders: padding counts nothing, or the loss says why it is not for text."""

import pytest
import torch

from compress.config.task_requirements import check_task
from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec
from compress.core.registry import lookup, names
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec
from compress.tasks.classification import Classification
from tests.distill.losses.encoders.encoder_checks import encoder, loss_of, tokens

FOR_MAPS = {
    "fsp": "an FSP matrix needs layers whose outputs are maps",
    "attention_transfer": "an activation map needs height and width",
}
"""Losses that refuse the layers."""
NOT_OF_TEXT = {"jacobian": "one input of real numbers", "fgd": "boxes", "channel_wise": "outputs with a height and a width"}
"""Losses that the task refuses."""
TEXT = NetworkSpec(
    signature=Signature(
        inputs=tuple(
            TensorSpec(name=name, dtype="int64", shape=(BATCH, "sequence")) for name in ("input_ids", "attention_mask")
        ),
        sizes={"sequence": AxisSizes(1, 16, 32)},
    ),
    classes=("a", "b", "c"),
)


@pytest.fixture(scope="module")
def networks():
    return encoder(layers=2, width=16), encoder(seed=1, layers=4, width=24)


@pytest.mark.parametrize("name", names("loss"))
def test_padding_counts_nothing_or_the_loss_says_why_it_is_not_for_text(name, networks):
    term = lookup("loss", name).load()()
    student, teacher = networks
    if refusals := list(check_task(Classification(), [(("losses", 0), term)], TEXT)):
        assert NOT_OF_TEXT[name] in refusals[0][1]
        return
    if name in FOR_MAPS:
        with pytest.raises(ModelError, match=FOR_MAPS[name]):
            loss_of(term, student, teacher, tokens())
        return
    if name == "direct":
        teacher = encoder(seed=1, layers=4, width=16)
    loss, matcher = loss_of(term, student, teacher, tokens())
    padded, _ = loss_of(term, student, teacher, tokens(padding=5), matcher)
    torch.testing.assert_close(padded, loss, rtol=5e-6, atol=1e-6)
    loss.backward()
    assert any(parameter.grad is not None for parameter in student.parameters())


@pytest.mark.parametrize("family", ["distilbert", "roberta", "albert", "mpnet", "deberta", "deberta-v2"])
@pytest.mark.parametrize("name", ["hidden_states", "attention_scores", "attention_maps", "relations"])
def test_families_learn_from_bert_without_padding(family, name):
    term = lookup("loss", name).load()()
    student, teacher = encoder(family), encoder(seed=1, layers=4)
    if family == "albert" and name == "hidden_states":
        term = term.model_copy(update={"projection": "per_layer"})
    loss, matcher = loss_of(term, student, teacher, tokens())
    padded, _ = loss_of(term, student, teacher, tokens(padding=5), matcher)
    torch.testing.assert_close(padded, loss, rtol=1e-5, atol=1e-6)
