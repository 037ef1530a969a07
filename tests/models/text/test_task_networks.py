"""Networks of transformers for each task of texts: from a folder, to ONNX, and the masked tokens alone."""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
import pytest
import torch

from compress.backends.export_onnx import export_onnx
from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.models.factory import build_model
from compress.models.saved_network import portable_architecture
from compress.models.settings import ModelSettings
from compress.models.text.task_networks import SentenceEncoder
from compress.tasks.base import Task
from compress.tasks.text.embedding import TextEmbedding
from compress.tasks.text.masked_language_model import MaskedLanguageModel
from compress.tasks.text.question_answering import QuestionAnswering
from compress.tasks.text.token_classification import TokenClassification
from tests.models.hugging_face_folders import ENCODER, TEXTS, make_folder
from tests.tasks.text.text_arrays import VOCABULARY, text_spec, tokens

pytest.importorskip("transformers")

TAGS = ("O", "B-X", "I-X")
TASKS: dict[str, Task] = {
    "tokens": TokenClassification(),
    "answers": QuestionAnswering(),
    "masked": MaskedLanguageModel(),
    "vectors": TextEmbedding(),
}
HEADS: dict[str, dict[str, Any]] = {
    **TEXTS,
    "electra": {**ENCODER, "embedding_size": 16, "vocab_size": VOCABULARY, "max_position_embeddings": 24},
    "albert": {**ENCODER, "embedding_size": 8, "vocab_size": VOCABULARY, "max_position_embeddings": 24},
    "mpnet": {**ENCODER, "vocab_size": VOCABULARY, "max_position_embeddings": 26},
    "deberta-v2": {**ENCODER, "vocab_size": VOCABULARY, "max_position_embeddings": 24},
}


def spec_for(task: Task):
    return task.complete_spec(text_spec(TAGS if isinstance(task, TokenClassification) else ()))


def new(kind: str, task: Task, **args: object):
    settings = ModelSettings(source=f"hf:{kind}", args={"config": {"model_type": kind, **HEADS[kind], **args}})
    return build_model(settings, spec_for(task), seed=0, base=None, task=task).module  # type: ignore[arg-type]


def reference_class(name: str) -> Any:
    from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForQuestionAnswering, AutoModelForTokenClassification

    return {
        "tokens": AutoModelForTokenClassification,
        "answers": AutoModelForQuestionAnswering,
        "masked": AutoModelForMaskedLM,
        "vectors": AutoModel,
    }[name]


@pytest.mark.parametrize("name", [name if name == "vectors" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS])
def test_outputs_are_those_of_transformers_and_of_the_onnx_file(name, tmp_path):
    from transformers import AutoConfig

    task, inputs = TASKS[name], tokens(3, 0)
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(TAGS))} if name == "tokens" else {}
    config = AutoConfig.for_model("bert", **{**TEXTS["bert"], "num_hidden_layers": 1}, **labels)
    reference_class(name).from_config(config).save_pretrained(tmp_path / "net")
    network = build_model(ModelSettings(source="hf:net"), spec_for(task), seed=0, base=tmp_path, task=task)
    assert network.notes == ()
    with torch.no_grad():
        expected = reference_class(name).from_pretrained(tmp_path / "net").eval()(**inputs)
        outputs = task.forward(network.module, inputs)
    if name == "vectors":
        weights = inputs["attention_mask"][..., None].float()
        mean = (expected.last_hidden_state * weights).sum(1) / weights.sum(1)
        wanted = {"embedding": mean / mean.norm(dim=1, keepdim=True)}
    else:
        wanted = {key: expected[key] for key in outputs}
    for key, values in wanted.items():
        torch.testing.assert_close(outputs[key], values)
    export_onnx(network.module, spec_for(task), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for count, length in ((1, 7), (3, 12)):
        feeds = {key: values[:count, :length].numpy() for key, values in inputs.items()}
        found = dict(zip(outputs, session.run(None, feeds), strict=True))
        with torch.no_grad():
            again = task.forward(network.module, {key: values[:count, :length] for key, values in inputs.items()})
        for key, values in again.items():
            torch.testing.assert_close(torch.from_numpy(found[key]), values, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", HEADS)
def test_masked_tokens_alone_have_the_logits_of_all(kind):
    task, inputs = MaskedLanguageModel(), tokens(3, 0)
    network = new(kind, task)
    positions = torch.tensor([[0, 1], [0, 4], [2, 3]])
    with torch.no_grad():
        every = network(**inputs)
        some = network(**inputs, positions=positions)
    assert every.shape == (3, 12, VOCABULARY)
    torch.testing.assert_close(some, every[positions[:, 0], positions[:, 1]])


@pytest.mark.parametrize("name", TASKS)
def test_padding_changes_no_answer(name):
    task, inputs = TASKS[name], tokens(2, 0, ragged=False)
    network = new("bert", task)
    wider = {key: torch.nn.functional.pad(values, (0, 6)) for key, values in inputs.items()}
    with torch.no_grad():
        outputs, padded = task.forward(network, inputs), task.forward(network, wider)
    for key, values in outputs.items():
        other = padded[key] if name == "vectors" else padded[key][:, :12]
        torch.testing.assert_close(other, values, atol=1e-5, rtol=1e-5)


def test_a_tied_decoder_is_counted_saved_and_exported_once(tmp_path):
    task = MaskedLanguageModel()
    tied = new("bert", task, num_hidden_layers=1, hidden_size=128)
    body = tied.network.bert.embeddings.word_embeddings.weight
    assert tied.network.get_output_embeddings().weight is body
    spec = spec_for(task)
    parameters = count_network(tied, spec).parameters
    assert parameters == sum(values.numel() for values in {id(each): each for each in tied.parameters()}.values())
    path = tmp_path / "model.safetensors"
    save(tied, tied, path)
    again = load(path, new("bert", task, num_hidden_layers=1, hidden_size=128))
    assert again.network.get_output_embeddings().weight is again.network.bert.embeddings.word_embeddings.weight
    export_onnx(tied, spec, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    stored = sum(values.size for values in map(onnx.numpy_helper.to_array, graph.initializer) if values.dtype.kind == "f")
    assert stored < parameters + VOCABULARY * 64


def test_a_head_for_other_labels_is_new(tmp_path):
    make_folder("bert", tmp_path / "net", classes=5)
    task = TokenClassification()
    network = build_model(ModelSettings(source="hf:net"), spec_for(task), seed=0, base=tmp_path, task=task)
    assert network.module(**tokens(2, 0)).shape == (2, 12, 3)
    assert any("newly initialised: classifier.bias, classifier.weight" in render(note) for note in network.notes)


@pytest.mark.parametrize(("pooling", "expected"), [("cls", 0), ("max", 1), ("mean", 2)])
def test_vectors_are_pooled_without_padding(pooling, expected):
    inputs = tokens(4, 0)
    network = new("bert", TextEmbedding(), pooling=pooling, normalize=False)
    assert isinstance(network, SentenceEncoder)
    with torch.no_grad():
        hidden = network.network(**inputs).last_hidden_state
        vectors = network(**inputs)
    for n, length in enumerate(inputs["attention_mask"].sum(1)):
        states = hidden[n, :length]
        torch.testing.assert_close(vectors[n], (states[0], states.amax(0), states.mean(0))[expected])


def test_a_student_has_the_dimensions_of_its_teacher(tmp_path):
    make_folder("bert", tmp_path / "net", classes=2)
    settings = ModelSettings(source="hf:net", args={"dimensions": 6, "pooling": "cls"})
    task = TextEmbedding()
    vectors = build_model(settings, spec_for(task), seed=0, base=tmp_path, task=task).module(**tokens(2, 0))
    assert vectors.shape == (2, 6)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    assert portable_architecture(settings, tmp_path).args["pooling"] == "cls"
    wrong = settings.model_copy(update={"args": {"colour": 1}})
    with pytest.raises(ModelError, match="has no setting colour"):
        build_model(wrong, spec_for(task), seed=0, base=tmp_path, task=task)
