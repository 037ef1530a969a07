import pytest
import torch

from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec, TextPreprocessing
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.models.sources.encoder import SIZES, encoder_config
from compress.tasks.text.text_classification import TextClassification

pytest.importorskip("transformers")


def text_spec(types=False, most=20):
    names = ("input_ids", "attention_mask", *(("token_type_ids",) if types else ()))
    high = {"input_ids": (0, 49), "attention_mask": (1, 1), "token_type_ids": (0, 1)}
    inputs = tuple(TensorSpec(name=name, dtype="int64", shape=("batch", "sequence"), values=high[name]) for name in names)
    spec = NetworkSpec(
        signature=Signature(inputs=inputs, sizes={"sequence": AxisSizes(1, 8, most)}),
        classes=("a", "b", "c"),
        preprocessing=TextPreprocessing(tokenizer="0", max_length=most, pad_id=3),
    )
    return TextClassification().complete_spec(spec)


def built(size, spec, tmp_path, **args):
    settings = ModelSettings(source=f"encoder:{size}", args=args)
    return build_model(settings, spec, seed=0, base=tmp_path, task=TextClassification()).module


@pytest.mark.parametrize("types", [False, True])
def test_padding_never_changes_an_answer(types, tmp_path):
    module = built("tiny", text_spec(types), tmp_path).eval()
    ids = torch.randint(0, 50, (2, 7), generator=torch.Generator().manual_seed(0))
    longer = torch.cat([ids, torch.full((2, 9), 3)], dim=1)
    mask = torch.ones_like(longer)
    mask[:, 7:] = 0
    more = [torch.zeros_like(longer)] if types else []
    with torch.no_grad():
        short = module(ids, torch.ones_like(ids), *(each[:, :7] for each in more))
        assert short.shape == (2, 3)
        torch.testing.assert_close(module(longer, mask, *more), short, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_their_papers(name):
    config = encoder_config(name, {}, text_spec())
    assert (config["num_hidden_layers"], config["hidden_size"]) == SIZES[name]
    assert config["num_attention_heads"] == SIZES[name][1] // 64
    assert config["intermediate_size"] == 4 * SIZES[name][1]
    assert (config["vocab_size"], config["max_position_embeddings"], config["pad_token_id"]) == (50, 20, 3)


def test_args_change_sizes_and_the_configuration(tmp_path):
    module = built("tiny", text_spec(), tmp_path, layers=1, width=32, heads=4, feed_forward=48, hidden_dropout_prob=0.0)
    config = module.network.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (1, 32, 4)
    assert (config.intermediate_size, config.hidden_dropout_prob) == (48, 0.0)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("tyny", {}, "did you mean 'tiny'"),
        ("tiny", {"width": 100, "heads": 3}, "cannot be divided among 3 heads"),
        ("tiny", {"layers": 0}, "layers 0; sizes are whole numbers"),
    ],
)
def test_faults_are_told(name, args, message):
    with pytest.raises(ModelError, match=message):
        encoder_config(name, args, text_spec())


def test_images_are_refused(make_spec):
    with pytest.raises(ModelError, match="takes token numbers"):
        encoder_config("tiny", {}, make_spec())
