"""Sentences of models: figures and names stand in them."""

from __future__ import annotations

import pytest

from compress.core.fact import Fact
from compress.core.sentences import render


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (
            Fact.of("models.opset_converted", "net.onnx", before=9, after=13),
            "operators of net.onnx converted from opset 9 to 13, which has what quantization needs",
        ),
        (
            Fact.of("models.channels_fitted", "conv1", before=3, after=1),
            "input channels of the first convolution conv1: 3 → 1, with its weights summed or repeated",
        ),
        (
            Fact.of("models.classes_fitted", "fc", before=1000, after=10),
            "classes of the head fc: 1000 → 10, with newly initialised weights",
        ),
        (
            Fact.of("models.weights_unused", "w.pt", count=2, prefix="model.", first="ema.a, ema.b"),
            "2 entries of w.pt outside `model.` belong to other modules and are not used: ema.a, ema.b",
        ),
        (
            Fact.of("models.position_embeddings_interpolated", before=224, after=96),
            "position embeddings interpolated: 224 → 96 pixels",
        ),
    ],
)
def test_names_and_figures_of_what_was_changed(fact: Fact, text: str) -> None:
    assert render(fact) == text


def test_other_normalisation_gives_the_values_of_both() -> None:
    values = {"mean": (0.485,), "std": (0.229,), "data_mean": (0.5,), "data_std": (0.25,)}
    text = render(Fact.of("models.normalised_otherwise", **values))  # type: ignore[arg-type]
    assert text.index("mean (0.485,) and std (0.229,)") < text.index("(0.5,) and (0.25,)")
