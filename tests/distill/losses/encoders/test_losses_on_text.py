"""Every registered loss on a pair of encoders: padding counts nothing, or the loss says why it is not for text."""

import pytest
import torch

from compress.config.task_requirements import check_task
from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec
from compress.core.registry import lookup, names
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec
from compress.core.stage import Candidate
from compress.data.interface import Data
from compress.distill.stage import Distill
from compress.models.text.task_networks import MaskedTokens
from compress.tasks.capability import CAPABILITIES
from compress.tasks.classification import Classification
from compress.tasks.text.masked_language_model import MaskedLanguageModel
from tests.distill.losses.encoders.encoder_checks import encoder, loss_of, tokens
from tests.tasks.text.text_arrays import VOCABULARY, Arrays, text_spec
from tests.tasks.text.text_arrays import tokens as texts

FOR_MAPS = {
    "fsp": "an FSP matrix needs layers whose outputs are maps",
    "attention_transfer": "an activation map needs height and width",
}
"""Losses that refuse the layers."""
OF_TEXT = (
    "response",
    "task",
    "embedding",
    "hidden_states",
    "attention_scores",
    "attention_maps",
    "value_relation",
    "relations",
)
"""Losses of the published students of encoders, which no task of texts may refuse."""
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
        assert name not in OF_TEXT
        assert any(meaning in refusals[0][1] for meaning in CAPABILITIES.values())
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


def masked_encoder(seed, layers, width):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=24
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MaskedTokens(transformers.AutoModelForMaskedLM.from_config(config), takes_types=True).eval()


TRIPLE = ({"response": {"temperature": 2.0, "weight": 5.0}}, {"task": {"weight": 2.0}}, {"hidden_cosine": {}})
"""DistilBERT's loss: a_ce 5, a_mlm 2, a_cos 1 and T = 2."""


def test_distilberts_loss_on_masked_tokens_equals_its_formula_and_trains(make_context):
    inputs = texts(24, 0, ragged=True)
    hidden = (torch.rand(inputs["input_ids"].shape, generator=torch.Generator().manual_seed(0)) < 0.2) & (
        inputs["attention_mask"] > 0
    )
    split = Arrays(inputs, {"target": torch.where(hidden, inputs["input_ids"], -100)})
    spec, task = text_spec(), MaskedLanguageModel()
    student, teacher = masked_encoder(0, 2, 16), masked_encoder(1, 4, 16)
    data = Data(task.complete_spec(spec), split, split, split)
    context = make_context(data, task=task, teachers=(Candidate(spec, teacher),))
    stage = Distill(epochs=3, batch_size=24, lr=3e-3, losses=TRIPLE, schedule="constant", warmup=0.0)
    batch = next(iter(split.ordered(24)))
    with torch.no_grad():
        (z_s, h_s), (z_t, h_t) = (
            (out.logits[hidden], out.hidden_states[-1])
            for out in (net.network(**batch.inputs, output_hidden_states=True) for net in (student, teacher))
        )
    p_t = (z_t / 2).softmax(-1)
    kl = 4 * (p_t * ((z_t / 2).log_softmax(-1) - (z_s / 2).log_softmax(-1))).sum(-1).mean()
    ce = torch.nn.functional.cross_entropy(z_s, batch.inputs["input_ids"][hidden])
    angle = 1 - torch.nn.functional.cosine_similarity(h_s, h_t, dim=-1)
    mask = batch.inputs["attention_mask"].float()
    cos = ((angle * mask).sum(1) / mask.sum(1)).mean()
    for part in student.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0  # the first loss of the stage is then that of these weights
    losses = stage.run(Candidate(spec, student), context).curves["loss"].y
    assert losses[0] == pytest.approx(float(5 * kl + 2 * ce + cos), rel=1e-4)
    assert losses[-1] < losses[0]
