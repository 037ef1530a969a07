"""Padding changes no answer, in torch and in ONNX Runtime; batch and sequence are free."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compress.backends import onnx_session
from compress.backends.export_onnx import export_onnx
from compress.core.network_spec import LOGITS, NetworkSpec
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.models.checkpoint import load, save
from compress.models.count_macs import count_network
from compress.models.text.student_settings import StudentSettings
from compress.models.text.students import BODIES, TextStudent, _reorder

VOCABULARY = 30


def spec(*, per_token: bool = False, types: bool = False) -> NetworkSpec:
    free = ("batch", "sequence")
    inputs = [
        TensorSpec(name="input_ids", dtype="int64", shape=free, values=(0, VOCABULARY - 1)),
        TensorSpec(name="attention_mask", dtype="int64", shape=free, values=(1, 1)),
        *([TensorSpec(name="token_type_ids", dtype="int64", shape=free, values=(0, 1))] if types else []),
    ]
    output = TensorSpec(name=LOGITS, shape=(*free, 3) if per_token else ("batch", 3))
    signature = Signature(inputs=tuple(inputs), outputs=(output,), sizes={"sequence": AxisSizes(1, 6, 32)})
    return NetworkSpec(signature=signature, classes=("a", "b", "c"))


def make(kind: str, *, layers: int = 2, per_token: bool = False, types: int = 0) -> TextStudent:
    torch.manual_seed(0)
    settings = StudentSettings(vocabulary=VOCABULARY, embedding=5, width=4, layers=layers, kernels=(2, 3), dropout=0.0)
    network = TextStudent(kind, settings, 3, types=types, per_token=per_token).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


def padded(lengths: tuple[int, ...], to: int, fill: int) -> tuple[Tensor, Tensor]:
    ids = torch.randint(0, VOCABULARY, (len(lengths), 32), generator=torch.Generator().manual_seed(1))[:, :to]
    mask = (torch.arange(to)[None, :] < torch.tensor(lengths)[:, None]).long()
    return torch.where(mask > 0, ids, fill), mask


@pytest.mark.parametrize("kind", BODIES)
@torch.no_grad()
def test_padding_changes_no_answer_in_torch_and_in_onnxruntime(kind, tmp_path):
    network, lengths = make(kind), (1, 4, 6)
    assert export_onnx(network, spec(), tmp_path / "model.onnx") == ()
    session = onnx_session.create_session(tmp_path / "model.onnx")
    alone = torch.cat(
        [network(*(values[row : row + 1, :size] for values in padded(lengths, 6, 0))) for row, size in enumerate(lengths)]
    )
    assert float(alone.std(0).min()) > 1e-3
    for to, fill in ((6, 0), (9, 7), (31, 3)):
        inputs = padded(lengths, to, fill)
        torch.testing.assert_close(network(*inputs), alone, atol=1e-5, rtol=0)
        (answers,) = session.run(
            None, dict(zip(("input_ids", "attention_mask"), (values.numpy() for values in inputs), strict=True))
        )
        torch.testing.assert_close(torch.from_numpy(answers), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bilstm", "cnn"])
@torch.no_grad()
def test_tokens_have_logits_that_padding_does_not_change(kind):
    network, lengths = make(kind, per_token=True, types=2), (2, 5)
    ids, mask = padded(lengths, 12, 9)
    types = (torch.arange(12) > 1).long().expand(2, -1)
    together = network(ids, mask, types)
    assert together.shape == (2, 12, 3)
    for row, size in enumerate(lengths):
        alone = network(*(values[row : row + 1, :size] for values in (ids, mask, types)))
        torch.testing.assert_close(together[row : row + 1, :size], alone, atol=1e-5, rtol=0)
    assert not torch.allclose(network(ids, mask, torch.zeros_like(types)), together)


@torch.no_grad()
def test_a_bilstm_computes_what_that_of_torch_computes_on_packed_texts():
    network, lengths = make("bilstm", layers=1), (3, 7, 5)
    reference = nn.LSTM(5, 4, batch_first=True, bidirectional=True)
    for suffix, part in (("", network.body.ahead[0]), ("_reverse", network.body.back[0])):
        for name, weight in part.named_parameters():
            getattr(reference, f"{name}{suffix}").copy_(weight)
    ids, mask = padded(lengths, 9, 0)
    x = network.embedding(ids)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    tokens, (last, _) = reference(packed)
    unpacked = nn.utils.rnn.pad_packed_sequence(tokens, batch_first=True, total_length=9)[0]
    features, text = network.body(x, mask.float())
    torch.testing.assert_close(features * mask[:, :, None], unpacked)
    torch.testing.assert_close(text, torch.cat([last[0], last[1]], dim=1))


@torch.no_grad()
def test_a_cnn_takes_the_maximum_over_time_and_an_mlp_the_mean():
    ids, mask = padded((5,), 5, 0)
    cnn, mlp = make("cnn", layers=1), make("mlp", layers=1)
    x = cnn.embedding(ids).transpose(1, 2)
    wide = torch.nn.functional.pad(x, (0, 1))
    expected = torch.cat(
        [
            cnn.body.layers[0][0](wide).relu().amax(2),
            torch.nn.functional.conv1d(x, cnn.body.layers[0][1].weight, cnn.body.layers[0][1].bias, padding=1).relu().amax(2),
        ],
        dim=1,
    )
    torch.testing.assert_close(cnn(ids, mask), cnn.head(expected))
    mean = mlp.embedding(ids).mean(1)
    torch.testing.assert_close(mlp(ids, mask), mlp.head(torch.relu(mlp.body.layers[0](mean))))


def test_texts_are_mirrored_within_their_length():
    x = torch.arange(8.0).reshape(1, 4, 2)
    assert torch.equal(_reorder(x, torch.tensor([[2, 1, 0, 3]]))[0, :, 0], torch.tensor([4.0, 2.0, 0.0, 6.0]))


@pytest.mark.parametrize("kind", BODIES)
def test_gradients_reach_all_weights_and_a_checkpoint_comes_back(kind, tmp_path):
    network, inputs = make(kind).train(), padded((3, 6), 6, 0)
    network(*inputs).square().sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.abs().sum() > 0) for parameter in network.parameters())
    network.eval()
    save(network, make(kind), tmp_path / "a.safetensors")
    other = make(kind)
    nn.init.zeros_(other.head.weight)
    assert torch.equal(load(tmp_path / "a.safetensors", other)(*inputs), network(*inputs))
    assert count_network(network, spec()).macs > 0
