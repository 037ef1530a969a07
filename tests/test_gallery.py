"""The shipped recipes of `pipelines/`: each is short and has its head; those on digits run at smoke size."""

from pathlib import Path

import pytest

from compress import Pipeline, Search
from compress.config.find_recipe import shipped
from compress.config.recipe import load
from tests.recipe_files import own_files

RECIPES = {path.stem: path for path in shipped()}
FAST = ("onnx_to_int8_pi", "rigl", "line_reader", "wav2vec_to_int8_student", "keyword_spotting")
"""Recipes that run in every test run; the others run with the slow tests."""
SLOW = (
    "several_teachers",
    "self_distillation",
    "phone_classifier",
    "latency_on_a_board",
    "detector_jetson",
    "pretrained_to_int8",
    "sparse_2_4_ampere",
    "qat_4_bits",
    "federated_sparse",
    "lottery_ticket",
    "mixed_precision_size",
    "seq2seq_distillation",
    "llm_speculative",
    "image_text_student",
    "visual_question_student",
    "voice_activity",
)
SEARCHES = ("search_under_latency",)
"""Recipes whose search runs with the slow tests; searches of toys are in tests/search."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_short_and_its_head_says_what_it_does(name: str, tmp_path: Path) -> None:
    text = RECIPES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    recipe = load(RECIPES[name], overrides=own_files(name, tmp_path)).recipe
    command = "compress pipeline" if recipe.search is None else "compress search"
    for key in ("# What:", f"# Run:     {command}", "# Sources:"):
        assert key in text
    assert f"{command} {name}.yaml" in text
    assert recipe.name == name


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_recipe_runs_at_smoke_size(name: str, tmp_path: Path) -> None:
    run = Pipeline.load(RECIPES[name], overrides=own_files(name, tmp_path), smoke=True).run(out=tmp_path / "runs", device="cpu")
    stages = [stage.name for stage in run.record.stages]
    assert stages[-1] == "profile"
    assert run.record.smoke
    assert list(run.folder.glob("artifacts/*/model.onnx"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_runs_at_smoke_size(name: str, tmp_path: Path) -> None:
    result = Search(RECIPES[name], smoke=True).run(out=tmp_path, device="cpu")
    assert [(row.state, row.reason) for row in result.rows] == [("finished", "")] * 2
    assert result.selection.best or result.selection.nearest  # at smoke size a network may be at chance, which is not chosen
