from pathlib import Path

import pytest

from compress.config.recipe import load
from compress.core.errors import RecipeError
from compress.pipeline.benchmark_runtimes import load_without_stages

RECIPE = """
name: tiny
task: classification
data: {source: digits, image_size: 32}
model: {source: "torchvision:mobilenet_v2"}
stages:
  - export: {}
  - profile: {devices: [a_board_of_another_folder]}
budget: {latency_ms: {a_board_of_another_folder: 1.0}}
"""


def test_data_of_a_run_are_loaded_where_its_device_profiles_are_not(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    with pytest.raises(RecipeError, match="unknown device"):
        load(path)
    loaded = load_without_stages(str(path))
    assert (loaded.recipe.data.source, loaded.recipe.data.image_size) == ("digits", 32)
    assert loaded.recipe.budget is None
    assert [type(stage).__name__ for stage in loaded.recipe.stages] == ["Export"]
