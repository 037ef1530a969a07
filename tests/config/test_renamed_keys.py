import json

import pytest

from compress.config.recipe import loads, schema
from compress.config.renamed_keys import RENAMED, Renamed, find_renamed, new_name
from compress.core.errors import RecipeError
from compress.core.registry import names
from tests.config.small_recipe import SMALL

OLD_STAGES = {row.old: row.new for row in RENAMED if row.where == "stages"}


@pytest.mark.parametrize(("old", "new"), OLD_STAGES.items())
@pytest.mark.parametrize("form", ["  - {}\n", "  - {}: {{}}\n", "  - {}:\n"])
def test_a_stage_by_its_old_name_is_refused_with_the_new_one(old: str, new: str, form: str) -> None:
    text = SMALL + form.format(old)
    with pytest.raises(RecipeError) as caught:
        loads(text)
    (fault,) = caught.value.issues
    assert fault.message == f"`{old}` is now called `{new}`"
    assert fault.line == text.count("\n")


def test_the_new_names_exist() -> None:
    assert set(OLD_STAGES.values()) <= set(names("stage"))


def test_a_change_by_the_old_name_is_refused_with_the_new_one() -> None:
    with pytest.raises(RecipeError, match="`adapt` is now called `substitute`"):
        loads(SMALL, overrides=["stages.adapt.images=4"])


def test_a_word_counts_only_at_its_place() -> None:
    assert new_name(("stages", 3), "adapt") == "substitute"
    assert new_name(("data",), "adapt") is None
    assert list(find_renamed({"name": "adapt", "data": {"adapt": 1}})) == []


@pytest.mark.parametrize(
    ("block", "old", "new"),
    [
        ("before: {kind: slimming}", "before", "sparse_training"),
        ("per_millisecond: true", "per_millisecond", "cost_aware: latency"),
        ("rounds: 2", "rounds", "rescorings"),
        ("schedule: {kind: guarded}", "guarded", "accuracy_aware"),
        ("schedule: {kind: rigl, every: 5}", "every", "update_every"),
        ("schedule: {kind: rigl, exchange: 0.2}", "exchange", "drop_fraction"),
        ("schedule: {kind: rigl, until: 0.5}", "until", "end_fraction"),
        ("sparse_training: {kind: growing}", "growing", "greg1"),
        ("sparse_training: {kind: growing_all}", "growing_all", "greg2"),
    ],
)
def test_an_old_word_of_pruning_is_refused_with_the_new_one(block: str, old: str, new: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loads(SMALL + f"  - prune: {{target: {{macs: 0.5}}, {block}}}\n")
    assert f"`{old}` is now called `{new}`" in [fault.message for fault in caught.value.issues]


def test_the_period_of_a_growing_penalty_keeps_its_name() -> None:
    assert new_name(("stages", 0, "prune", "sparse_training"), "every") is None
    assert new_name(("stages", 0, "prune", "schedule"), "every") == "update_every"


def test_the_new_names_of_pruning_exist() -> None:
    assert {"greg1", "greg2"} <= set(names("penalty"))
    assert "accuracy_aware" in names("schedule")


@pytest.mark.parametrize(
    ("entry", "old", "new"),
    [
        ("{losses: [branches, task]}", "branches", "self_distillation_exits"),
        ("{losses: [{standardised: {weight: 0.5}}]}", "standardised", "logit_standardization"),
        ("{teacher: {labels: {file: soft.parquet}}}", "labels", "soft_label_file"),
        ("{teacher: {oracle: {function: 'python:mine.py:f'}}}", "oracle", "function"),
    ],
)
def test_an_old_loss_or_teacher_of_distill_is_refused_with_the_new_name(entry: str, old: str, new: str) -> None:
    with pytest.raises(RecipeError, match=f"`{old}` is now called `{new}`"):
        loads(f"{SMALL}  - distill: {entry}\n")
    assert new in (*names("loss"), *names("teacher"))


@pytest.mark.parametrize(
    ("block", "old", "new"),
    [
        ("{gate: null}", "gate", "accept_if"),
        ("{ladder: {equalize: true}}", "ladder", "ptq"),
        ("{calibration: {tune: 12}}", "tune", "learn_epochs"),
        ("{calibration: {method: relative}}", "relative", "sample_normalized_mse"),
    ],
)
def test_quantization_by_old_names_is_refused_with_the_new_ones(block: str, old: str, new: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loads(SMALL + f"  - quantize: {block}\n")
    assert f"`{old}` is now called `{new}`" in [fault.message for fault in caught.value.issues]


@pytest.mark.parametrize("row", RENAMED, ids=lambda row: f"{row.where}.{row.old}")
def test_the_new_word_is_one_that_recipes_know(row: Renamed) -> None:
    words = json.dumps(schema())
    assert f'"{row.new.partition(":")[0]}"' in words
