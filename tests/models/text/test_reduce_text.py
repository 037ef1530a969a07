"""A chain on a pruned vocabulary: the student loses rows, the teacher is mapped, the artifact has the pruned tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from compress import Pipeline
from compress.core.kept_tokens import KeptTokens
from compress.core.network_spec import NetworkSpec, TextPreprocessing
from compress.core.signature import SEQUENCE, AxisSizes
from compress.models.factory import build_model
from compress.models.saved_network import load
from compress.models.settings import ModelSettings, TeacherSettings
from compress.models.sources.teacher import copy_teacher
from compress.models.sources.text_student import fill_from_teacher
from compress.models.text.fit_vocabulary import WholeVocabulary
from tests.data.text.toy_texts import SIGNS, WORDS, write_csv
from tests.models.hugging_face_folders import make_folder
from tests.models.text.test_students import spec

pytest.importorskip("transformers")

NUMBERS = (0, 1, 2, 3, 6, 9, 17, 33)
RECIPE = """\
name: pruned
task: text_classification
data: {source: "csv:t.csv", tokenizer: {of: model, keep: used}, lengths: {typical: 8, most: 16}}
model: {source: teacher, keep_layers: [1], factorize_embeddings: 4}
teacher: {source: "hf:net"}
stages:
  - distill: {epochs: 1, losses: [soft_labels]}
  - export: {}
"""


def pruned_spec() -> NetworkSpec:
    text = TextPreprocessing(tokenizer="", kept=KeptTokens.of(NUMBERS, 40))
    inputs = spec().signature.inputs
    ids = inputs[0].model_copy(update={"values": (0, len(NUMBERS) - 1)})
    sizes = {SEQUENCE: AxisSizes(1, 8, 16)}
    signature = spec().signature.model_copy(update={"inputs": (ids, *inputs[1:]), "sizes": sizes})
    return spec().model_copy(update={"signature": signature, "preprocessing": text})


@torch.no_grad()
def test_a_checkpoint_is_pruned_a_teacher_mapped_and_a_copy_of_it_pruned(tmp_path):
    network = make_folder("distilbert", tmp_path / "net", classes=3)
    ids = torch.tensor([[2, 4, 7, 3], [2, 6, 5, 3]])
    mask = torch.ones_like(ids)
    expected = network(input_ids=torch.tensor(NUMBERS)[ids], attention_mask=mask).logits

    def built(settings: ModelSettings) -> torch.nn.Module:
        return build_model(settings, pruned_spec(), seed=0, base=tmp_path).module

    student, teacher = built(ModelSettings(source="hf:net")), built(TeacherSettings(source="hf:net"))
    assert isinstance(teacher, WholeVocabulary)
    for module in (student, teacher):
        torch.testing.assert_close(module(ids, mask), expected, atol=1e-6, rtol=0)
    sizes = [sum(parameter.numel() for parameter in module.parameters()) for module in (student, teacher)]
    assert sizes[1] - sizes[0] == (40 - len(NUMBERS)) * 16
    small = built(ModelSettings(source="text_student:mlp", args={"embedding": 4, "width": 4}))
    (note,) = fill_from_teacher(small, built(TeacherSettings(source="hf:net")), "text_student:mlp")
    assert note.values["width"] == 4
    copied, _ = copy_teacher(teacher, ModelSettings(source="teacher"), pruned_spec())
    torch.testing.assert_close(copied(ids, mask), expected, atol=1e-6, rtol=0)
    assert copied.state_dict().keys() == student.state_dict().keys()


@pytest.mark.slow
def test_a_chain_on_a_pruned_vocabulary_ships_the_pruned_tokenizer(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    make_folder("bert", tmp_path / "net", classes=2)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "neverused", "unheard", *SIGNS["bad"], *SIGNS["good"], "last"]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token=words[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(words[:4])
    tokenizer.save(str(tmp_path / "net" / "tokenizer.json"))
    write_csv(tmp_path / "t.csv")
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    run = Pipeline.load(tmp_path / "r.yaml").run(out=tmp_path / "runs")
    left = [word for word in words if word not in ("neverused", "unheard", "last")]
    (shipped,) = {path.read_bytes() for path in (run.folder / "artifacts").rglob("tokenizer.json")}
    vocabulary = json.loads(shipped)["model"]["vocab"]
    assert sorted(vocabulary, key=vocabulary.__getitem__) == left
    student, teacher = load(run.folder / "01-distill"), load(run.folder / "00-teacher")
    assert isinstance(teacher, WholeVocabulary)
    assert teacher.rows == 40
    ids, mask = torch.tensor([[2, 4, 7, 3]]), torch.ones(1, 4).long()
    assert student(ids, mask).shape == (1, 2)
    assert Path(run.folder / "00-teacher" / "network.json").is_file()
    again = Pipeline.load(tmp_path / "r.yaml").run(out=tmp_path / "runs")
    assert again.record == run.record
