"""Mixtures of experts as plain layers: equal to transformers' own, three ways to choose experts, and their ONNX file."""

import onnxruntime
import pytest
import torch
from torch import nn

from compress.backends.export_onnx import export_onnx
from compress.core.errors import ModelError
from compress.models import checkpoint
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.models.text.experts import FeedForward, MixtureOfExperts, expert_weights, mixtures
from compress.models.text.hugging_face_folder import write_folder
from tests.models.text.expert_networks import ARGS, SPEC, TASK, expert_decoder
from tests.tasks.text.text_arrays import VOCABULARY, tokens

transformers = pytest.importorskip("transformers")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mixture(per_token=2):
    torch.manual_seed(0)
    experts = [FeedForward(8, 6, nn.SiLU()) for _ in range(4)]
    return MixtureOfExperts(nn.Linear(8, 4, bias=False), experts, per_token, 0.0)


@pytest.mark.parametrize("routing", ["top", "sampled", "all"])
def test_weights_sum_to_one_over_the_chosen_experts(routing):
    torch.manual_seed(0)
    logits = draw(50, 4)
    weights = expert_weights(logits, 2, routing)
    torch.testing.assert_close(weights.sum(1), torch.ones(50))
    assert ((weights > 0).sum(1) == (4 if routing == "all" else 2)).all()
    p = logits.softmax(1)
    chosen = weights > 0
    torch.testing.assert_close(weights[chosen], (p / (p * chosen).sum(1, keepdim=True))[chosen])
    if routing == "top":
        assert torch.equal(weights.argmax(1), logits.argmax(1))


def test_draws_follow_the_probabilities_of_the_router():
    torch.manual_seed(0)
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).expand(20_000, 4)
    drawn = (expert_weights(logits, 1, "sampled") > 0).float().mean(0)
    torch.testing.assert_close(drawn, logits[0].softmax(0), atol=0.015, rtol=0)


def test_chosen_experts_alone_compute_what_all_with_zero_weights_do():
    layer, x = mixture(), draw(3, 5, 8)
    weights = expert_weights(layer.gate(x.reshape(-1, 8)), 2, "top")
    expected = sum(weights[:, index, None] * expert(x.reshape(-1, 8)) for index, expert in enumerate(layer.experts))
    torch.testing.assert_close(layer(x).reshape(-1, 8), expected)
    layer.routing = "all"
    p = layer.gate(x.reshape(-1, 8)).softmax(1)
    expected = sum(p[:, index, None] * expert(x.reshape(-1, 8)) for index, expert in enumerate(layer.experts))
    torch.testing.assert_close(layer(x).reshape(-1, 8), expected)


def test_an_expert_without_tokens_has_a_gradient_of_zero():
    layer = mixture(per_token=1)
    with torch.no_grad():
        layer.gate.weight.zero_()
        layer.gate.weight[0] = 1.0
    layer(torch.ones(4, 8)).sum().backward()
    gradients = [expert.up_proj.weight.grad.abs().sum() for expert in layer.experts]
    assert gradients[0] > 0
    assert gradients[1:] == [0, 0, 0]


def test_a_folder_of_mixtral_is_read_and_written_with_equal_logits(tmp_path):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        "mixtral", hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        num_local_experts=3, vocab_size=VOCABULARY, max_position_embeddings=24, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    own = transformers.AutoModelForCausalLM.from_config(config).eval()
    own.save_pretrained(tmp_path / "mixtral")
    read = build_model(ModelSettings(source="hf:mixtral"), SPEC, seed=0, base=tmp_path, task=TASK).module
    assert [len(part.experts) for part in mixtures(read).values()] == [3, 3]
    inputs = tokens(3, 0)
    with torch.no_grad():
        expected = own(**inputs).logits
        torch.testing.assert_close(read(**inputs), expected, atol=1e-5, rtol=1e-5)
    (note,) = write_folder(read, SPEC, tmp_path / "out", {})
    assert note.code == "models.hugging_face_folder"
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, expected, atol=1e-5, rtol=1e-5)


def test_the_onnx_file_takes_other_numbers_of_tokens_and_chooses_the_same_experts(tmp_path):
    network = expert_decoder()
    export_onnx(network, SPEC, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    for count, length in ((1, 1), (3, 12)):
        feeds = {name: values[:count, :length] for name, values in tokens(3, 0).items()}
        (found,) = session.run(None, {name: values.numpy() for name, values in feeds.items()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), network(**feeds), atol=1e-4, rtol=1e-4)


def test_a_dense_part_is_saved_and_loaded_with_its_own_width(tmp_path):
    network, reference = expert_decoder(), expert_decoder(1)
    for name, part in mixtures(network).items():
        dense = part.dense()
        for layer, shape in ((dense.gate_proj, (10, 32)), (dense.up_proj, (10, 32)), (dense.down_proj, (32, 10))):
            layer.weight = nn.Parameter(0.1 * draw(*shape))
            layer.out_features, layer.in_features = shape
        network.set_submodule(name, dense)
    checkpoint.save(network, reference, tmp_path / "w.safetensors")
    loaded = checkpoint.load(tmp_path / "w.safetensors", reference)
    with torch.no_grad():
        assert torch.equal(loaded(**tokens(2, 0)), network(**tokens(2, 0)))
    assert not mixtures(loaded)
    (note,) = write_folder(loaded, SPEC, tmp_path / "out", {})
    assert note.values["kind"] == "MistralForCausalLM"


def test_sizes_of_experts_are_checked():
    assert [len(part.experts) for part in mixtures(expert_decoder(experts=3)).values()] == [3, 3]
    assert {part.balance for part in mixtures(expert_decoder()).values()} == {0.01}
    for args, message in (
        ({"experts_per_token": 5}, "4 experts, 5 per token"),
        ({"balance": -1}, "balance a number from 0 on"),
        ({"experts": 0}, "sizes are whole numbers above 0"),
    ):
        with pytest.raises(ModelError, match=message):
            expert_decoder(**args)
    plain = {key: value for key, value in ARGS.items() if key != "experts"}
    with pytest.raises(ModelError, match="has no experts, so experts_per_token has no effect"):
        build_model(ModelSettings(source="decoder:tiny", args=plain), SPEC, seed=0, base=None, task=TASK)
