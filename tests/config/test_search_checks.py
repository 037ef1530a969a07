"""Spaces and objectives that no trial could use are refused with the recipe, with line and combination."""

import subprocess
import sys

import pytest

from compress.config.recipe import digest, loads, resolved_yaml
from compress.core.errors import RecipeError

BASE = """\
name: tiny
data: {source: digits, image_size: 32}
model: {source: "torchvision:squeezenet1_1"}
stages:
  - train: {epochs: 1}
  - prune: {target: {macs: 0.7}}
  - quantize: {calibration: {samples: 16}}
  - export
  - profile: {devices: [host]}
budget: {size_mb: 5}
"""


def search(space: str, objectives: str = "[accuracy, {latency_ms: host}]") -> str:
    return f"{BASE}search:\n  space:\n    {space}\n  objectives: {objectives}\n"


def issues(text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(RecipeError) as refusal:
        loads(text)
    return [(issue.line, issue.path, issue.message) for issue in refusal.value.issues]


def test_a_valid_search_changes_neither_digest_nor_round_trip():
    recipe = loads(search("stages.prune.target.macs: {low: 0.2, high: 0.8}"))
    assert digest(recipe) == digest(loads(BASE))
    assert loads(resolved_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("space", "path", "words"),
    [
        ("stages.prune.target.macs: {low: 0.2, high: 1.8}", "stages.prune.target.macs", "stages.prune.target.macs = 1.8"),
        ("stages.prune.targe.macs: {low: 0.2, high: 0.8}", "stages.prune.targe.macs", "did you mean 'target'"),
        ("stages.prun.target.macs: {low: 0.2, high: 0.8}", "stages.prun.target.macs", "did you mean 'prune'"),
        ("stages.quantize.scheme: {choice: [int8, fp16]}", "stages.quantize.scheme", "stages.quantize.scheme = 'fp16'"),
        ("stages.prune: {low: 1, high: 2}", "stages.prune", "whole stage"),
        ("stages.prune.target: {optional: true}", "stages.prune.target", "is for a stage"),
        ("budget.size_mb: {low: 1, high: 2}", "budget.size_mb", "cannot be searched"),
        ("stages.train.epochs: {low: 0, high: 2}", "stages.train.epochs", "stages.train.epochs = 0"),
    ],
)
def test_a_space_with_an_invalid_recipe_is_refused_at_its_line(space, path, words):
    ((line, place, message),) = issues(search(space))
    assert (line, place) == (13, f"search.space.{path}")
    assert words in message


def test_two_values_that_are_valid_alone_are_refused_together():
    space = "stages.prune: {optional: true}\n    stages.1: {choice: [{prune: {target: {macs: 0.5}}}, {export: {}}]}"
    found = issues(search(space))
    assert found
    assert all("with stages.1 = " in message for _, _, message in found)
    both = "data.image_size: {choice: [32, 48]}\n    stages.quantize.scheme: {choice: [int8, auto]}"
    assert loads(search(both)).search is not None


@pytest.mark.parametrize(
    ("objectives", "words"),
    [
        ("[acuracy]", "did you mean 'accuracy'"),
        ("[accuracy, accuracy]", "named twice"),
        ("[{latency_ms: jetson_orin_nano}]", "no stage profiles jetson_orin_nano"),
        ("[latency_ms]", "a quantity of a device"),
    ],
)
def test_objectives_that_nothing_measures_are_refused(objectives, words):
    ((line, _, message),) = issues(search("stages.prune.target.macs: {low: 0.2, high: 0.8}", objectives))
    assert line == 14
    assert words in message


def test_a_large_space_is_checked_in_part_and_quickly():
    space = "\n    ".join(
        ["stages.prune.target.macs: {low: 0.2, high: 0.8}", "stages.train.epochs: {choice: [1, 2, 3, 4, 5]}",
         "stages.train.lr: {low: 0.0001, high: 0.1, log: true}", "seed: {choice: [0, 1, 2, 3]}",
         "stages.quantize.calibration.samples: {choice: [16, 32, 64, 128]}"]
    )  # fmt: skip
    assert loads(search(space)).search is not None


def test_a_search_is_checked_without_torch_and_without_the_optimizer(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(search("stages.prune.target.macs: {low: 0.2, high: 0.8}"))
    load = "import sys; from compress.config.recipe import load; load(sys.argv[1]);"
    code = load + " assert not {'torch', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, path], check=True)


def test_values_of_fidelity_are_checked_like_those_of_the_space():
    space = search("stages.prune.target.macs: {low: 0.2, high: 0.8}")
    assert loads(f"{space}  fidelity: {{stages.train.epochs: [1, 2, 4]}}\n  stop: asha\n").search.rungs == 3
    ((line, path, message),) = issues(f"{space}  fidelity: {{stages.train.epochs: [0, 2]}}\n")
    assert (line, path) == (15, "search.fidelity.stages.train.epochs")
    assert "stages.train.epochs = 0" in message
    for fidelity, words in (
        ("{stages.train.epochs: [1, 2], stages.train.lr: [0.1, 0.2, 0.3]}", "equally many"),
        ("{stages.prune.target.macs: [0.2, 0.4]}", "in space and in fidelity"),
    ):
        ((_, _, message),) = issues(f"{space}  fidelity: {fidelity}\n")
        assert words in message


LATENCY = "stages.prune.target.macs: {low: 0.2, high: 0.8}"


@pytest.mark.parametrize(
    ("objectives", "latency", "words"),
    [
        ("[accuracy]", "{repeats: 2}", "repeats needs one objective of latency"),
        ("[accuracy, {latency_ms: host}, {energy_j: host}]", "{screen_after: 4}", "the profile, which measures energy_j"),
        ("[accuracy, {latency_ms: host}]", "{screen_after: 1}", "must be at least 3, got 1"),
    ],
)
def test_settings_of_latency_that_cannot_act_are_refused(objectives, latency, words):
    ((_, path, message),) = issues(f"{search(LATENCY, objectives)}  latency: {latency}\n")
    assert path.startswith("search.latency")
    assert words in message


def test_latency_is_screened_only_before_a_profile_at_the_end():
    text = search(LATENCY).replace(
        "  - export\n  - profile: {devices: [host]}\n", "  - profile: {devices: [host]}\n  - export\n"
    )
    ((_, _, message),) = issues(f"{text}  latency: {{screen_after: 4}}\n")
    assert "screen_after needs a profile stage at the end; the last stage is export" in message
    loads(f"{search(LATENCY)}  latency: {{screen_after: 4, repeats: 2}}\n")
