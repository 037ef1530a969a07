"""`genai_config.json`: names and sizes of the file beside it, and the tokens that end a text."""

import json

import onnxruntime
import pytest

from compress.backends.decoder.key_value_cache import read_layout
from compress.backends.decoder.sampling import Sampler
from compress.export.genai_config import stop_tokens
from compress.export.stream_text import GenerationTimes
from compress.export.text_generator import TextGenerator
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


def test_onnxruntime_genai_writes_the_same_tokens(language_artifact):
    genai = pytest.importorskip("onnxruntime_genai")
    folder, _ = language_artifact
    generator, model = TextGenerator(folder), genai.Model(str(folder))
    assert list(genai.Tokenizer(model).encode("river stone cloud")) == generator.prompt_tokens("river stone cloud")
    for start in range(20):
        prompt = [(start * step + 5) % 250 + 5 for step in range(1, 4 + start)]
        times = GenerationTimes(len(prompt))
        list(generator.stream(prompt, Sampler(), most=12, times=times))
        parameters = genai.GeneratorParams(model)
        parameters.set_search_options(max_length=len(prompt) + 12, do_sample=False)
        writer = genai.Generator(model, parameters)
        writer.append_tokens(prompt)
        while not writer.is_done():
            writer.generate_next_token()
        found = [int(token) for token in writer.get_sequence(0)][len(prompt) :]
        assert [token for token in found if token not in generator.stops] == times.tokens
