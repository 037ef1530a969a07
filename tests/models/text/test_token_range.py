import pytest
import torch
from torch import nn

from compress.backends.export_onnx import export_onnx
from compress.core.errors import ModelError
from compress.core.network_spec import NetworkSpec, TextPreprocessing
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.models.check_network import take_network
from compress.models.text.token_range import check_token_range, check_tokens_of_file


class Net(nn.Module):
    """Tokens and places in tables, or places in a parameter."""

    def __init__(self, rows=20, places=16, table=True):
        super().__init__()
        self.words = nn.Embedding(rows, 4)
        self.places = nn.Embedding(places, 4) if table else nn.Parameter(torch.zeros(1, places, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, input_ids, attention_mask):
        length = input_ids.shape[1]
        places = self.places(torch.arange(length)) if isinstance(self.places, nn.Embedding) else self.places[:, :length]
        mask = attention_mask[..., None].float()
        return self.head(((self.words(input_ids) + places) * mask).sum(1) / mask.sum(1))


def spec(tokens=20, most=16, typical=4):
    inputs = [
        TensorSpec(name="input_ids", dtype="int64", shape=("batch", "sequence"), values=(0, tokens - 1)),
        TensorSpec(name="attention_mask", dtype="int64", shape=("batch", "sequence"), values=(1, 1)),
    ]
    signature = Signature(
        inputs=tuple(inputs),
        outputs=(TensorSpec(name="logits", shape=("batch", 3)),),
        sizes={"sequence": AxisSizes(1, typical, most)},
    )
    return NetworkSpec(signature=signature, classes=("a", "b", "c"), preprocessing=TextPreprocessing(tokenizer="0" * 64))


@pytest.mark.parametrize("table", [True, False])
def test_a_network_with_all_tokens_and_places_is_taken(table):
    take_network(Net(table=table), spec(), "python:net.py:make")


def test_too_few_rows_are_named_with_the_largest_token():
    with pytest.raises(ModelError) as refusal:
        take_network(Net(rows=12), spec(), "python:net.py:make")
    message = str(refusal.value)
    assert "python:net.py:make has a table of 12 tokens, 0 to 11, and the largest token of the data is 19" in message
    assert message.endswith("or to one of at most 12 tokens")


@pytest.mark.parametrize(("table", "typical"), [(True, 4), (True, 12), (False, 4), (False, 12)])
def test_too_few_places_are_named_with_the_longest_text(table, typical):
    with pytest.raises(ModelError, match=r"takes at most 8 tokens, .* up to 16.*; set data.lengths.most: 8,"):
        take_network(Net(places=8, table=table), spec(typical=typical), "python:net.py:make")


class Functional(Net):
    def forward(self, input_ids, attention_mask):  # noqa: ARG002
        return self.head(nn.functional.embedding(input_ids, self.words.weight).mean(1))


def test_a_table_that_is_no_module_is_refused_with_the_token():
    check_token_range(Functional(), spec(), "net")
    with pytest.raises(ModelError, match=r"net fails on token 19, the largest of the data \(index out of range"):
        check_token_range(Functional(rows=12), spec(), "net")


def test_other_data_and_networks_that_do_not_run_are_not_judged(make_spec):
    check_token_range(nn.Linear(2, 2), make_spec(), "net")
    check_token_range(nn.Linear(2, 2), spec(), "net")


def test_an_onnx_file_is_compared_by_its_tables(tmp_path):
    path = tmp_path / "m.onnx"
    export_onnx(Net(rows=12).eval(), spec(tokens=12), path)
    check_tokens_of_file(path, spec(tokens=12))
    with pytest.raises(ModelError, match=r"m.onnx has a table of 12 tokens, 0 to 11, and the largest token of the data is 19"):
        check_tokens_of_file(path, spec())
    with pytest.raises(ModelError, match=r"m.onnx takes at most 16 tokens, and the data have texts of up to 40"):
        check_tokens_of_file(path, spec(tokens=12, most=40))
