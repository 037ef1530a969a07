from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compress import Pipeline
from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.core.signature import Signature, TensorSpec
from compress.models.factory import build_model
from compress.models.saved_network import load
from compress.models.settings import ModelSettings
from compress.models.text.token_table import principal_projection
from tests.models.text.test_students import spec

RECIPE = """\
name: small
data: {source: "npz:words.npz"}
model: {source: "text_student:mlp", args: {vocabulary: 30, embedding: 4, width: 8, embeddings: teacher}}
teacher: {source: "text_student:mlp", args: {vocabulary: 30, embedding: 6, width: 8}, train: {epochs: 1}}
stages:
  - distill: {epochs: 1, losses: [soft_labels]}
"""


def write_words(folder: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 30, (96, 8))
    target = ((ids < 15).sum(1) > 4).astype(np.int64)
    np.savez(folder / "words.npz", input_ids=ids, attention_mask=np.ones_like(ids), target=target)


def test_sizes_come_from_the_data_and_the_arguments():
    network = build_model(
        ModelSettings(source="text_student:cnn", args={"width": 2}), spec(types=True), seed=0, base=Path()
    ).module
    assert network.embedding.weight.shape == (30, 128)
    assert network.types.weight.shape == (2, 128)
    assert network.head.weight.shape == (3, 6)
    tagger = build_model(
        ModelSettings(source="text_student:bilstm", args={"width": 2}), spec(per_token=True), seed=0, base=Path()
    )
    assert tagger.module(torch.zeros(2, 5).long(), torch.ones(2, 5).long()).shape == (2, 5, 3)


def test_other_data_and_tasks_are_refused(make_spec):
    with pytest.raises(ModelError, match=r"text_student:cnn takes tokens `input_ids` .* the data give input: float32"):
        build_model(ModelSettings(source="text_student:cnn"), make_spec(), seed=0, base=Path())
    with pytest.raises(ModelError, match=r"text_student:mlp gives logits of a text; the task needs logits: .*sequence×3"):
        build_model(ModelSettings(source="text_student:mlp"), spec(per_token=True), seed=0, base=Path())
    two = [TensorSpec(name=name, shape=("batch", "sequence")) for name in ("start", "end")]
    answers = NetworkSpec(signature=Signature(inputs=spec().signature.inputs, outputs=tuple(two), sizes=spec().signature.sizes))
    with pytest.raises(ModelError, match=r"logits of a text or of each token; the task needs start: .*, end: "):
        build_model(ModelSettings(source="text_student:bilstm"), answers, seed=0, base=Path())


@pytest.mark.slow
def test_a_student_starts_from_the_embeddings_of_the_trained_teacher(tmp_path):
    write_words(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    run = Pipeline.load(tmp_path / "r.yaml").run(out=tmp_path / "runs")
    assert "projected to width 4, with" in " ".join(map(render, run.record.notes))
    teacher, start = (load(run.folder / name).embedding.weight for name in ("00-teacher", "00-start"))
    rows = principal_projection(teacher.detach(), 4)[0]
    torch.testing.assert_close(start.detach() / start.norm(), rows / rows.norm())
    again = Pipeline.load(tmp_path / "r.yaml").run(out=tmp_path / "runs")
    assert again.record == run.record
