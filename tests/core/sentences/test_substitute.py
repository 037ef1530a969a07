import pytest

from compress.core.fact import Fact
from compress.core.sentences import render

AUTO = {"worth": 0.02, "targets": ("host", "pi"), "speedups": (1.5, None), "details": ("measured", "no kernel")}


def test_a_replacement_says_who_chose_it() -> None:
    asked = Fact.of("substitute.replaced", "activations", to="relu", places=3)
    assert render(asked) == "activations: relu in 3 places (requested)"
    chosen = render(Fact.of("substitute.replaced", "activations", to="relu", places=3, **AUTO))  # type: ignore[arg-type]
    gains = "host 1.50 times as fast without it (measured); pi unknown: no kernel"
    assert chosen == f"activations: relu in 3 places (auto, at least 2% of the time saved: {gains})"


def test_what_auto_kept_has_the_gain_on_each_target() -> None:
    assert "at least 2% of the time saved: host 1.50 times" in render(Fact.of("substitute.kept_by_auto", "hswish", **AUTO))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ((), "nothing was replaced"),
        (("SiLU",), "nothing was replaced; the network has no SiLU"),
        (("SiLU", "GELU"), "nothing was replaced; the network has no SiLU, no GELU"),
    ],
)
def test_kinds_that_the_network_does_not_have_are_named(missing: tuple[str, ...], text: str) -> None:
    assert render(Fact.of("substitute.nothing_replaced", missing=missing)) == text


def test_gates_that_no_layer_absorbs_are_counted_and_named() -> None:
    text = render(Fact.of("substitute.gates_dropped", layers=("a", "b")))
    assert text == "no layer absorbs the mean gate of 2 squeeze-excite modules: a, b"
