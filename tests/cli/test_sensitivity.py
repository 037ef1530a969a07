from pathlib import Path

import pytest

from compress.cli.sensitivity import analyse
from compress.core.errors import CompressError

RECIPE = """name: tiny
data: {source: digits, image_size: 16, limit: 96, evaluation_limit: 32}
model: {source: "torchvision:squeezenet1_1", args: {}}
stages:
"""


def test_a_recipe_without_channels_to_prune_is_refused(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE + "  - train: {epochs: 1}\n")
    with pytest.raises(CompressError, match="has no prune stage"):
        analyse(path, out=tmp_path, smoke=True)
    path.write_text(RECIPE + "  - prune: {granularity: layer, target: {macs: 0.5}}\n")
    with pytest.raises(CompressError, match="the recipe has 'layer'"):
        analyse(path, out=tmp_path, smoke=True)


def test_the_verb_runs_the_stages_before_and_leaves_table_and_figure(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.replace("16,", "32,") + "  - prune: {target: {macs: 0.5}}\n  - export\n")
    run, files = analyse(path, out=tmp_path, smoke=True)
    assert all(isinstance(file, Path) and file.is_file() for file in files)
    assert [stage.name for stage in run.record.stages] == ["sensitivity"]
