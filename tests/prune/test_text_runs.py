"""The stage on tokens: batches of different lengths, padding, recovery by distillation, every kind of target."""

from dataclasses import replace

import pytest
import torch

from compress.config.devices import load_device
from compress.core.network_spec import NetworkSpec
from compress.core.signature import BATCH, AxisSizes, Signature, TensorSpec
from compress.core.stage import Candidate, Context
from compress.data.batch import Batch
from compress.data.interface import Data
from compress.data.sources.npz import ArraySplit
from compress.models.count_macs import count_network
from compress.prune.speedup import estimated_ms
from compress.prune.stage import Prune
from compress.prune.structured.head_layouts import count_heads
from compress.tasks.classification import Classification
from tests.distill.losses.encoders.encoder_checks import encoder
from tests.prune.structured.text_networks import make_text_network

pytest.importorskip("transformers")

RECOVER = {"epochs": 1, "batch_size": 8, "teacher": "parent"}


class Texts(ArraySplit):
    """Tokens and their mask, where each batch is as long as its longest text."""

    def _batch(self, samples):
        whole = super()._batch(samples)
        longest = int(whole.inputs["attention_mask"].sum(1).max())
        return Batch({name: values[:, :longest] for name, values in whole.inputs.items()}, whole.targets, whole.samples)


def _split(count, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 13, (count, 1), generator=generator)
    ids = torch.randint(1, 40, (count, 12), generator=generator)
    mask = (torch.arange(12)[None] < lengths).long()
    inputs = {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    return Texts(inputs, (ids[:, 0] % 3))


@pytest.fixture
def candidate(tmp_path):
    net, spec = make_text_network("bert", tmp_path)
    return Candidate(spec=spec, module=net)


@pytest.fixture
def context(candidate, tmp_path):
    data = Data(spec=candidate.spec, train=_split(24, 1), validation=_split(16, 2), test=_split(8, 3))
    return Context(data=data, task=Classification(), folder=tmp_path, cache=tmp_path / "cache", device="cpu")


def _run(candidate, context, **fields):
    settings = {"recover": RECOVER, "schedule": {"kind": "one_shot"}, "timing_seconds": 0, "batches": 2, "round_to": 4}
    return Prune(**{**settings, **fields}).run(candidate, context)


@pytest.mark.parametrize(
    "importance", ["fisher", *(pytest.param(name, marks=pytest.mark.slow) for name in ("taylor", "activation", "magnitude"))]
)
def test_every_importance_reaches_the_macs_and_recovers(importance, candidate, context):
    outcome = _run(candidate, context, target={"macs": 0.6}, importance=importance)
    pruned = outcome.candidate.network()
    assert outcome.results["macs_ratio"].value <= 0.6
    assert count_network(pruned, candidate.spec).macs <= 0.6 * count_network(candidate.network(), candidate.spec).macs
    named = {str(row["layer"]) for row in outcome.tables["layers"]}
    assert {f"{name} (heads)" for name in count_heads(candidate.network())} <= named
    assert "network.bert.embeddings.word_embeddings" in named
    assert any(name.startswith("step-1") for name in outcome.curves)


@pytest.mark.parametrize("measure", ["params", pytest.param("bytes", marks=pytest.mark.slow)])
def test_the_embeddings_count_in_targets_of_size(measure, candidate, context):
    outcome = _run(candidate, context, target={measure: 0.5}, importance="taylor")
    assert outcome.results["parameters_ratio"].value <= 0.52
    rows = {str(row["layer"]): row for row in outcome.tables["layers"]}
    words = rows["network.bert.embeddings.word_embeddings"]
    assert words["out_after"] == rows["network.bert.pooler.dense"]["in_after"]


@pytest.mark.slow
@pytest.mark.parametrize("field", ["latency", "latency_ms"])
def test_a_latency_on_a_device_out_of_reach_is_met_by_its_estimate_at_the_typical_length(field, context):
    inputs = tuple(TensorSpec(name=name, dtype="int64", shape=(BATCH, "sequence")) for name in ("input_ids", "attention_mask"))
    outputs = (TensorSpec(name="logits", shape=(BATCH, 3)),)
    signature = Signature(inputs=inputs, outputs=outputs, sizes={"sequence": AxisSizes(1, 64, 128)})
    net = encoder(width=128, heads=4, intermediate_size=512, max_position_embeddings=128)  # not only overhead, as tiny ones
    wide = Candidate(spec=NetworkSpec(signature=signature, classes=("a", "b", "c")), module=net)
    splits = [_split(count, seed) for count, seed in ((24, 1), (16, 2), (8, 3))]
    parts = [Texts({spec.name: each.inputs[spec.name] for spec in inputs}, each.target) for each in splits]
    context = replace(context, data=Data(wide.spec, *parts))
    device = load_device("mobile_cpu")
    dense = estimated_ms(net, wide.spec, device)
    target = {field: 0.7 * (dense if field == "latency_ms" else 1.0), "device": "mobile_cpu"}
    outcome = _run(wide, context, target=target, importance="magnitude", recover={"epochs": 0})
    assert estimated_ms(outcome.candidate.network(), wide.spec, device) <= 0.7 * dense * 1.001
    assert outcome.results["macs_ratio"].value < 1
    assert not any(fact.code == "prune.target_not_reached" for fact in outcome.notes)


@pytest.mark.slow
def test_a_latency_on_this_machine_is_measured_in_turns(candidate, context):
    outcome = _run(candidate, context, target={"latency": 0.9}, importance="magnitude", recover={"epochs": 0})
    (fact,) = (note for note in outcome.notes if note.code == "prune.latency_target")
    assert fact.values["verdict"] in ("met", "met_within_interval", "missed")
    assert outcome.results["macs_ratio"].value < 1


@pytest.mark.parametrize("score", ["influence", "search"])
def test_a_layer_goes(score, candidate, context):
    outcome = _run(candidate, context, granularity="layer", block_score=score, target={"macs": 0.6})
    assert len(outcome.tables["layers"]) == 1
    assert "encoder.layer" in str(outcome.tables["layers"][0]["block"])
