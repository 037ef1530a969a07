"""`genai_config.json`: names and sizes of the file beside it, and the tokens that end a text."""

import json

import onnxruntime
import pytest

from compress.backends.decoder.key_value_cache import read_layout
from compress.export.genai_config import stop_tokens
from tests.export.decoder_artifacts import MOST, text_data


def test_the_configuration_describes_the_file(language_artifact):
    folder, _ = language_artifact
    model = json.loads((folder / "genai_config.json").read_text())["model"]
    decoder, layout = model["decoder"], read_layout(folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / decoder["filename"], providers=["CPUExecutionProvider"])
    layers = range(decoder["num_hidden_layers"])
    names = [decoder["inputs"][f"past_{part}_names"] % layer for layer in layers for part in ("key", "value")]
    assert [value.name for value in session.get_inputs()] == ["input_ids", "attention_mask", *names]
    assert decoder["inputs"].keys() == {"input_ids", "attention_mask", "past_key_names", "past_value_names"}
    assert session.get_inputs()[2].shape[1::2] == [decoder["num_key_value_heads"], decoder["head_size"]]
    assert model["context_length"] == layout.context == MOST
    assert session.get_outputs()[0].shape[-1] == model["vocab_size"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"generation_config.json": {"eos_token_id": 5}}, (5,)),
        ({"generation_config.json": {"eos_token_id": [5, 6]}}, (5, 6)),
        ({"generation_config.json": {}}, ()),
    ],
)
def test_the_network_names_the_tokens_that_end_a_text(files, expected):
    assert stop_tokens({name: json.dumps(values).encode() for name, values in files.items()}, text_data().spec) == expected


def test_the_tokenizer_names_them_otherwise():
    file = text_data().files["tokenizer.json"]
    vocabulary = json.loads(file)["model"]["vocab"]
    spec = text_data().spec
    for name in (spec.text.end_token, next(iter(vocabulary))):
        text = spec.text.model_copy(update={"end_token": name})
        found = stop_tokens({"tokenizer.json": file}, spec.model_copy(update={"preprocessing": text}))
        assert found == (vocabulary[name],)
