import pytest

from compress.core.fact import Fact
from compress.core.sentences import render


@pytest.mark.parametrize(("layers", "listed"), [(("a from b", "c from d"), "a from b; c from d"), ("a from b", "a from b")])
def test_matched_layers_are_listed(layers: str | tuple[str, ...], listed: str) -> None:
    assert render(Fact.of("train.layers_matched", "fitnets", layers=layers)) == f"loss 'fitnets' matched {listed}"


def test_the_factors_of_a_balance_stand_with_their_losses() -> None:
    fact = Fact.of("train.loss_factors", "uncertainty", losses=("kd", "task"), weights=(0.5, 1.0), factors=(1.23456, 0.8))
    assert render(fact) == "balance `uncertainty`: final factors kd × 0.5 × 1.23, task × 1 × 0.8"
    single = Fact.of("train.loss_factors", "uncertainty", losses="kd", weights=0.5, factors=2.0)
    assert render(single) == "balance `uncertainty`: final factors kd × 0.5 × 2"


def test_factors_of_another_number_than_losses_are_no_sentence() -> None:
    with pytest.raises(ValueError, match="shorter"):
        render(Fact.of("train.loss_factors", "x", losses=("kd", "task"), weights=(0.5,), factors=(1.0, 2.0)))
