"""Shares of the router, the dense network, and what is recorded."""

import copy
from pathlib import Path

import pytest
import torch

from compress.core.errors import ModelError
from compress.core.stage import Candidate, Context
from compress.merge.experts.most_used import MostUsedExperts
from compress.merge.experts.replace_experts import router_shares
from compress.merge.experts.stage import MergeExperts
from compress.models.text.experts import expert_weights, mixtures
from tests.models.text.expert_networks import SPEC, TASK, expert_decoder, next_tokens

pytest.importorskip("transformers")


def context_in(folder: Path) -> Context:
    data = type("Texts", (), {"train": next_tokens(40, 0), "validation": next_tokens(16, 1), "spec": SPEC})()
    return Context(data=data, task=TASK, folder=folder, cache=folder, base=folder, device="cpu")  # type: ignore[arg-type]


def test_shares_are_the_mean_weights_of_tokens_that_are_no_padding(tmp_path):
    network = expert_decoder()
    shares = router_shares(network, context_in(tmp_path), 40)
    name, part = next(iter(mixtures(network).items()))
    logits = []
    part.gate.register_forward_hook(lambda _module, _inputs, output: logits.append(output))
    inputs = next_tokens(40, 0).inputs
    with torch.no_grad():
        network(**inputs)
    weights = expert_weights(logits[0], 2, "top")[inputs["attention_mask"].flatten().bool()]
    torch.testing.assert_close(shares[name], weights.mean(0), atol=1e-5, rtol=1e-5)


def test_experts_that_compute_alike_lose_nothing(tmp_path):
    network = expert_decoder()
    for part in mixtures(network).values():
        for expert in part.experts:
            expert.load_state_dict(part.experts[0].state_dict())
    for method in ("average", "most_used", "svd"):
        own = copy.deepcopy(network)
        if method == "svd":  # directions of equal experts are the same ones
            for part in mixtures(own).values():
                part.experts = part.experts[:1]
                part.gate.weight = torch.nn.Parameter(part.gate.weight[:1])
                part.per_token = 1
        outcome = MergeExperts(method=method).run(Candidate(SPEC, own), context_in(tmp_path))
        inputs = next_tokens(3, 7).inputs
        with torch.no_grad():
            torch.testing.assert_close(outcome.candidate.network()(**inputs), own(**inputs), atol=1e-4, rtol=1e-4)


def test_the_record_has_shares_metrics_and_which_experts_stay(tmp_path):
    network = expert_decoder()
    before = copy.deepcopy(network.state_dict())
    outcome = MergeExperts(method=MostUsedExperts(experts=3)).run(Candidate(SPEC, network), context_in(tmp_path))
    rows = outcome.tables["expert_shares"]
    assert len(rows) == 8
    for layer in {str(row["layer"]) for row in rows}:
        own = [row for row in rows if row["layer"] == layer]
        assert sum(float(row["router_share"]) for row in own) == pytest.approx(1.0, abs=1e-5)
        least = min(own, key=lambda row: float(row["router_share"]))
        assert [row["kept"] for row in own].count(False) == 1
        assert not least["kept"]
    assert outcome.results.keys() == {"validation_perplexity_before", "validation_perplexity"}
    assert not mixtures(outcome.candidate.network())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_networks_without_experts_or_with_too_few_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"most_used takes 5 experts and a layer has 4; set `experts`"):
        MergeExperts(method=MostUsedExperts(experts=5)).run(Candidate(SPEC, expert_decoder()), context_in(tmp_path))
    with pytest.raises(ModelError, match=r"needs a network with experts.*args: \{experts: 4\}"):
        MergeExperts().run(Candidate(SPEC, torch.nn.Linear(2, 2)), context_in(tmp_path))
