import pytest

from compress.core.fact import Fact
from compress.core.sentences import render, render_subject

TARGET = {
    "granularity": "channel", "reached": 0.61, "asked": 0.5, "max_ratio": 0.8, "layer_max_ratios": (), "round_to": 8,
    "skipped": 1,
}  # fmt: skip
SPEED = {"macs_ratio": 2.0, "speedup": 0.98, "earlier": 1.05, "cause": "memory", "low": None, "high": None}
MACHINE = {"dense_ms_before": 2.0, "dense_ms": 3.0, "latency": None}
LATENCY = {"reached": 0.5, "asked": 0.6, "low": None, "high": None, "asked_ms": None, "reached_ms": None, "verdict": "met"}
PENALTY = {"factor": 0.5, "ceiling": 1.0, "steps": 10, "selection": 0}


@pytest.mark.parametrize(
    ("code", "subject", "values", "changes", "phrases"),
    [
        (
            "target_not_reached",
            "macs",
            TARGET,
            {},
            ["macs is 0.6100 of the dense network, target 0.5000", "1 layer that cannot be pruned"],
        ),
        (
            "target_not_reached",
            "macs",
            TARGET,
            {"skipped": 3},
            ["max_ratio 0.8, round_to 8 and 3 layers that cannot be pruned"],
        ),
        ("target_not_reached", "macs", TARGET, {"granularity": "layer"}, ["parts of the network that are no residual block"]),
        ("target_not_reached", "bytes", TARGET, {"granularity": "weight"}, ["0.610 of the dense network"]),
        ("target_not_reached", "sparsity", TARGET, {"granularity": "weight"}, ["0.610 of the prunable weights removed"]),
        (
            "target_not_reached",
            "macs",
            TARGET,
            {"layer_max_ratios": (0.2, 0.7)},
            ["0.2 to 0.7 of the layers that it names"],
        ),
        ("target_not_reached", "macs", TARGET, {"layer_max_ratios": 0.2}, ["max_ratio 0.2 of the layers"]),
        ("no_speedup", "step 2", SPEED, {}, ["÷ 2.00", "0.98 times the dense speed, after 1.05", "likely cause: memory"]),
        ("no_speedup", "step 2", SPEED, {"low": 0.9, "high": 1.1}, ["0.98 times the dense speed, 95 % interval 0.90 to 1.10"]),
        ("machine_speed_changed", "", MACHINE, {}, ["became slower", "2 ms at the start and 3 ms at the end"]),
        ("machine_speed_changed", "", MACHINE, {"dense_ms": 1.0}, ["became faster"]),
        ("machine_speed_changed", "", MACHINE, {"latency": 0.5}, ["target: {latency: 0.5} sets the same target"]),
        ("latency_target", "", LATENCY, {}, ["latency at the end: 0.500 of the dense network's time, target 0.600: met"]),
        ("latency_target", "", LATENCY, {"low": 0.4, "high": 0.7}, ["time (95 % interval 0.400 to 0.700), target"]),
        ("latency_target", "", LATENCY, {"verdict": "met_within_interval"}, [": met within the measurement interval"]),
        (
            "latency_target",
            "",
            LATENCY,
            {"asked_ms": 3, "reached_ms": 2.5},
            ["at the speed of the machine at the start", "2.5 ms against 3 ms"],
        ),
        (
            "penalty_growth",
            "greg",
            PENALTY,
            {},
            ["greg: the factor reached 0.5, below its ceiling 1: raise epochs"],
        ),
        ("penalty_growth", "greg", PENALTY, {"factor": 1.0}, ["reached its ceiling 1 within 10 steps"]),
        (
            "penalty_growth",
            "greg",
            PENALTY,
            {"selection": 4},
            ["selected the weights to remove after step 4 of 10; the factor"],
        ),
        ("unscored_channels", "apoz", {"layers": "a"}, {}, ["apoz", "1 layer,", ": a"]),
        (
            "unscored_channels",
            "apoz",
            {"layers": tuple("abcdefgh")},
            {},
            ["8 layers, which are not pruned: a, b, c, d, e, f, …"],
        ),
        ("channels_not_permuted", "", {"groups": 1}, {}, ["1 group of channels"]),
        ("channels_not_permuted", "", {"groups": 2}, {}, ["2 groups of channels"]),
        (
            "widths_not_multiples",
            "",
            {"round_to": 8, "layers": ("a: 12", "b: 20")},
            {},
            ["not a multiple of 8", "a: 12, b: 20"],
        ),
    ],
)
def test_a_sentence_follows_the_values_of_its_fact(
    code: str, subject: str, values: dict[str, object], changes: dict[str, object], phrases: list[str]
) -> None:
    text = render(Fact.of(f"prune.{code}", subject, **values | changes))  # type: ignore[arg-type]
    assert all(phrase in text for phrase in phrases), text
    assert "None" not in text


@pytest.mark.parametrize("granularity", ["weight", "block", "n:m"])
def test_each_granularity_of_zeros_says_where_it_saves_time(granularity: str) -> None:
    assert "compressed bytes" in render(Fact.of("prune.dense_runtime", granularity))


def test_heads_that_stay_are_named_as_heads() -> None:
    fact = Fact.of("prune.no_fewer_heads", "encoder.0", heads=2, max_ratio=0.4)
    assert render_subject(fact) == "encoder.0 (heads)"
    assert render(fact) == "2 heads: max_ratio 0.4 allows no smaller number"
