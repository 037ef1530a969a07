"""Rules for layers, and weights of the teacher's layers that are learned."""

import pytest
import torch

from compress.core.errors import ModelError
from compress.distill.losses.encoders.attention_scores import AttentionScores
from compress.distill.losses.encoders.hidden_states import HiddenStates
from compress.distill.losses.features import Hint
from compress.train.features.discover_layers import LayerCatalog
from compress.train.features.layer_maps import LearnedLayers, map_indices, map_layers, match_layers
from compress.train.features.matched_layers import FeatureMatcher
from tests.distill.losses.encoders.encoder_checks import encoder, loss_of, tokens
from tests.train.features.networks import INPUTS, Transformer, seeded, staged


def test_the_rules_are_those_of_tinybert():
    assert map_indices("uniform", 4, 12) == [(m - 1, 3 * m - 1) for m in range(1, 5)]
    assert map_indices("first", 4, 12) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert map_indices("last", 4, 12) == [(0, 8), (1, 9), (2, 10), (3, 11)]
    assert map_indices("uniform", 3, 2) == [(1, 0), (2, 1)]
    assert map_indices("first", 3, 2) == [(0, 0), (1, 1)]


def catalogs(students=2, teachers=4):
    networks = seeded(lambda: Transformer(students)), seeded(lambda: Transformer(teachers, 16), 1)
    return [LayerCatalog(network, INPUTS, role) for network, role in zip(networks, ("student", "teacher"), strict=True)]


def test_a_rule_ignores_resolutions_and_auto_does_not():
    student, teacher = (LayerCatalog(staged(seed), INPUTS, "student") for seed in (0, 1))
    assert [b.hook.name for _, b in map_layers("last", student, teacher, "maps")] == ["stage0", "stage1"]
    assert [b.hook.name for _, b in match_layers(*catalogs(), "maps")] == ["blocks.1", "blocks.3"]


@pytest.mark.parametrize(
    ("rule", "expected"), [("uniform", ["0", "2", "4"]), ("first", ["0", "1", "2"]), ("last", ["0", "3", "4"])]
)
def test_hidden_states_match_the_embedding_layers_and_then_by_the_rule(rule, expected):
    student, teacher = encoder(layers=2), encoder(seed=1, layers=4)
    matcher = FeatureMatcher((HiddenStates(layers=rule),), student, [teacher], tuple(tokens().values()))
    found = [layers.teacher.removeprefix("network.bert.") for layers in matcher.matched[0]]
    assert found == ["embeddings", *(f"encoder.layer.{int(number) - 1}" for number in expected[1:])]
    alone = FeatureMatcher((HiddenStates(layers=rule, embeddings=False),), student, [teacher], tuple(tokens().values()))
    assert [layers.teacher for layers in alone.matched[0]] == [layers.teacher for layers in matcher.matched[0]][1:]


def test_the_mean_of_layers_equals_the_formula():
    learned = LearnedLayers(2, 3)
    learned.logits.data = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, -50.0]])
    features = [torch.full((2, 4), float(n)) for n in range(3)]
    first, second = learned(features)
    torch.testing.assert_close(first, torch.full((2, 4), 1.0))
    weight = torch.e / (1 + torch.e)
    torch.testing.assert_close(second, torch.full((2, 4), weight))


@pytest.mark.parametrize("term", [HiddenStates(layers="learned"), AttentionScores(layers="learned")])
def test_weights_of_layers_are_trained_and_reported(term):
    student, teacher = encoder(layers=2), encoder(seed=1, layers=4)
    loss, matcher = loss_of(term, student, teacher, tokens())
    learned = matcher.loss_modules["layers 0 0"]
    before = [weights for row in matcher.rows() if (weights := row.get("weights"))]
    assert before == [[0.25] * 4] * 2
    optimizer = torch.optim.Adam(matcher.loss_modules.parameters(), lr=0.3)
    for _ in range(5):
        optimizer.zero_grad()
        loss, _ = loss_of(term, student, teacher, tokens(), matcher)
        loss.backward()
        optimizer.step()
    assert float(learned.logits.detach().abs().max()) > 0.1
    facts = matcher.facts_after_training()
    assert [fact.values["layer"] for fact in facts] == [row["student_layer"] for row in matcher.rows() if "weights" in row]
    assert sum(facts[0].values["weights"]) == pytest.approx(1.0)


def test_layers_of_different_shapes_have_no_mean():
    with pytest.raises(ModelError, match="stage0 and stage1 have different shapes; use uniform"):
        FeatureMatcher((Hint(layers="learned"),), staged(), [staged(1)], INPUTS)
