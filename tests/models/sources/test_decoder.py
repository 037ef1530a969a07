"""Decoders of `decoder:` and of `hf:` folders: sizes, causality, padding, chosen places, layers, and the ONNX file."""

import onnxruntime
import pytest
import torch

from compress.backends.export_onnx import export_onnx
from compress.core.errors import ModelError
from compress.models.factory import build_model
from compress.models.hugging_face_config import spec_of
from compress.models.settings import ModelSettings
from compress.models.sources.decoder import SIZES, decoder_config
from compress.models.text.layer_choice import LayerChoice
from compress.tasks.text.causal_language_model import CausalLanguageModel
from tests.tasks.text.text_arrays import LENGTH, VOCABULARY, text_spec, tokens

transformers = pytest.importorskip("transformers")

TASK = CausalLanguageModel()
SPEC = TASK.complete_spec(text_spec())
SMALL = {"layers": 2, "width": 32, "heads": 4, "key_value_heads": 2, "feed_forward": 48}
FOLDERS = {
    "llama": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 24,
    },
    "gpt2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 24},
}


def built(source="decoder:tiny", base=None, **settings):
    return build_model(ModelSettings(source=source, **settings), SPEC, seed=0, base=base, task=TASK).module


def new():
    return built(args=SMALL)


def folder(kind, path):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        kind, **FOLDERS[kind], vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None
    )
    network = transformers.AutoModelForCausalLM.from_config(config).eval()
    network.save_pretrained(path)
    return network


def check_file(network, path):
    export_onnx(network, SPEC, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count, length in ((1, 1), (1, 7), (3, LENGTH)):
        feeds = {name: values[:count, :length] for name, values in tokens(3, 0).items()}
        (found,) = session.run(None, {name: values.numpy() for name, values in feeds.items()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), network(**feeds), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_table(name):
    config = decoder_config(name, {}, SPEC)
    layers, width, groups = SIZES[name]
    assert (config["num_hidden_layers"], config["hidden_size"], config["num_key_value_heads"]) == (layers, width, groups)
    assert config["num_attention_heads"] == width // 64
    assert config["num_attention_heads"] % groups == 0
    assert 0 <= config["intermediate_size"] - 8 * width / 3 < 32
    assert (config["vocab_size"], config["max_position_embeddings"], config["pad_token_id"]) == (VOCABULARY, 24, None)


def test_no_place_sees_a_token_after_it_or_padding():
    network, inputs = new(), tokens(2, 0, ragged=False)
    later = inputs["input_ids"].clone()
    later[:, 7:] = 5
    wider = {name: torch.nn.functional.pad(values, (0, 6)) for name, values in inputs.items()}
    with torch.no_grad():
        z = network(**inputs)
        torch.testing.assert_close(network(later, inputs["attention_mask"])[:, :7], z[:, :7])
        torch.testing.assert_close(network(**wider)[:, :LENGTH], z, atol=1e-5, rtol=1e-5)
        assert float((network(later, inputs["attention_mask"])[:, 8:] - z[:, 8:]).abs().max()) > 1e-3


def test_chosen_places_alone_have_the_logits_of_all_and_the_output_layer_is_the_embedding():
    network, inputs = new(), tokens(3, 0)
    positions = torch.tensor([[0, 1], [0, 4], [2, 3]])
    with torch.no_grad():
        torch.testing.assert_close(network(**inputs, positions=positions), network(**inputs)[positions[:, 0], positions[:, 1]])
    assert network.network.get_output_embeddings().weight is network.network.get_input_embeddings().weight
    outputs = TASK.training_forward(network, inputs, {"target": inputs["input_ids"]})
    TASK.loss(outputs, {"target": inputs["input_ids"]}).backward()
    assert bool((network.network.get_input_embeddings().weight.grad.abs().sum(1) > 0).all())


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_has_the_logits_of_transformers_and_layers_are_chosen(kind, tmp_path):
    expected, inputs = folder(kind, tmp_path / "net"), tokens(3, 0, ragged=False)
    network = built("hf:net", tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(network(**inputs), expected(**inputs).logits)
        half = built("hf:net", tmp_path, keep_layers=LayerChoice(count=2))
        assert half(**inputs).shape == (3, LENGTH, VOCABULARY)
    assert sum(1 for name, _ in half.named_parameters() if name.endswith(("mlp.down_proj.weight", "mlp.c_fc.weight"))) == 2
    spec = spec_of(str(tmp_path / "net"))
    assert str(spec.signature.outputs[0]) == f"logits: float32 batch×sequence×{VOCABULARY}"
    assert spec.signature.sizes["sequence"].most == 24


@pytest.mark.slow
def test_the_file_of_a_decoder_has_the_logits_of_python(tmp_path):
    check_file(built(args={**SMALL, "layers": 1}), tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOLDERS)
def test_the_file_of_a_folder_has_the_logits_of_python(kind, tmp_path):
    folder(kind, tmp_path / "net")
    check_file(built("hf:net", tmp_path), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("tyny", {}, "did you mean 'tiny'"),
        ("tiny", {"width": 100, "heads": 3}, "100 cannot be divided among 3 heads"),
        ("tiny", {"heads": 4, "key_value_heads": 3}, "key_value_heads divides heads"),
        ("tiny", {"layers": 0}, "layers 0; sizes are whole numbers"),
        ("tiny", {"layers": True}, "layers True; sizes are whole numbers"),
    ],
)
def test_faults_are_told(name, args, message):
    with pytest.raises(ModelError, match=message):
        decoder_config(name, args, SPEC)


def test_an_encoder_and_other_data_are_refused(make_spec):
    config = {"model_type": "bert", "hidden_size": 16, "num_attention_heads": 2, "vocab_size": VOCABULARY}
    with pytest.raises(ModelError, match=r"is a bert, which is no decoder.*or decoder:tiny"):
        built("hf:bert", args={"config": config})
    with pytest.raises(ModelError, match="takes token numbers"):
        decoder_config("tiny", {}, make_spec())
