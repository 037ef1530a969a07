from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from compress import Data, Pipeline, Train
from compress.config.recipe import LoadedRecipe, loads
from compress.core.errors import ModelError, RecipeError
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.models.factory import build_model
from compress.models.saved_network import load, read_description
from compress.models.settings import ModelSettings, TeacherSettings
from compress.models.text.keep_layers import find_pretrained
from compress.models.text.layer_choice import LayerChoice
from compress.pipeline.plan import from_recipe
from compress.pipeline.stage_key import start_key, teacher_key

CONFIG = (
    "{model_type: bert, hidden_size: 16, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 32, "
    "vocab_size: 30, max_position_embeddings: 16, num_labels: 2}"
)
RECIPE = f"""\
name: half
data: {{source: "npz:words.npz"}}
model: {{source: teacher, keep_layers: {{count: 2}}}}
teacher: {{source: "hf:bert", args: {{config: {CONFIG}}}, train: {{epochs: 1, optimizer: adamw, lr: 0.001}}}}
stages:
  - distill: {{epochs: 1, losses: [soft_labels]}}
"""


def write_words(folder: Path) -> None:
    draw = np.random.default_rng(0)
    ids = draw.integers(3, 30, (96, 8))
    target = (ids < 15).sum(1) > 4
    np.savez(folder / "words.npz", input_ids=ids, attention_mask=np.ones_like(ids), target=target.astype(np.int64))


@pytest.mark.slow
def test_a_student_of_half_the_layers_starts_from_the_trained_teacher_and_is_distilled(tmp_path):
    pytest.importorskip("transformers")
    write_words(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    run = Pipeline.load(tmp_path / "r.yaml").run(out=tmp_path / "runs")
    assert "a copy of the trained teacher" in " ".join(map(render, run.record.notes))
    teacher, start = (load(run.folder / name).state_dict() for name in ("00-teacher", "00-start"))
    here = "network.bert.encoder.layer."
    for key, value in start.items():
        number, _, rest = key.removeprefix(here).partition(".")
        assert torch.equal(value, teacher[f"{here}{(0, 2)[int(number)]}.{rest}" if key.startswith(here) else key])
    student = load(run.folder / "01-distill")
    assert not torch.equal(student.state_dict()[f"{here}1.output.dense.weight"], start[f"{here}1.output.dense.weight"])
    network = find_pretrained(student)
    assert network is not None
    assert network.config.num_hidden_layers == 2
    architecture = read_description(run.folder / "01-distill").architecture
    assert architecture is not None
    assert architecture.source == "hf:bert"
    again = Pipeline.load(tmp_path / "r.yaml").run(out=tmp_path / "runs")
    assert again.record == run.record  # every stage is reused


def test_the_start_depends_on_the_layers_and_on_the_training_of_the_teacher(tmp_path):
    pytest.importorskip("transformers")
    write_words(tmp_path)
    keys = []
    for overrides in ([], ["teacher.train.epochs=2"], ["model.keep_layers.count=1"], ["model.keep_layers.choose=last"]):
        plan = from_recipe(
            LoadedRecipe(loads(RECIPE, overrides=overrides, base=tmp_path), RECIPE, tmp_path / "r.yaml", tmp_path)
        )
        teacher = plan.teachers[0]
        settings = teacher.training.model_dump(mode="json") if teacher.training else None
        keys.append(start_key(plan.model, [teacher_key({"network": teacher.key, "train": settings}, plan)], plan))
    assert len(set(keys)) == 4
    assert plan.model.trained
    architecture = plan.model.architecture
    assert architecture is not None
    assert (architecture.source, architecture.weights) == ("hf:bert", "fresh")
    assert architecture.keep_layers == LayerChoice(count=2, choose="first")


def test_a_network_of_the_caller_is_copied_from_a_teacher_of_the_caller(tmp_path):
    torch.manual_seed(0)
    teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    split = torch.utils.data.TensorDataset(torch.randn(12, 3, 8, 8), torch.arange(12) % 2)
    data = Data.from_loaders(*(torch.utils.data.DataLoader(split, 4) for _ in range(3)), classes="ab")
    pipeline = Pipeline("copy", model="teacher", data=data, stages=[Train(epochs=1)], teacher=teacher)
    run = pipeline.run(out=tmp_path)
    start = load(run.folder / "00-start", reference=teacher)
    assert torch.equal(start[1].weight, teacher[1].weight)


def test_a_copy_needs_a_teacher(tmp_path):
    text = RECIPE.replace("teacher: {source", "tracking: {} #")
    with pytest.raises(RecipeError, match="teacher starts from the teacher, but the recipe has no teacher"):
        loads(text, base=tmp_path)
    with pytest.raises(ValidationError, match="a teacher cannot start from the teacher"):
        TeacherSettings(source="teacher")
    with pytest.raises(ModelError, match="here there is none"):
        build_model(ModelSettings(source="teacher"), spec(), seed=0, base=tmp_path)


def spec() -> NetworkSpec:
    from compress.core.network_spec import image_spec

    return image_spec(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.5,) * 3, classes=("a", "b"))
