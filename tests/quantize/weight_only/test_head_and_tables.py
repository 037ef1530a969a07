"""Output layer and embedding with bits of their own, in decoders with a tied table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from compress.backends import onnx_files
from compress.backends import onnx_graph as graphs
from compress.backends.decoder.session import DecoderSession
from compress.backends.export_onnx import export_onnx
from compress.core.errors import ConversionError
from compress.quantize.schemes import SchemeOptions, build_models
from compress.quantize.weight_only.head_and_tables import HeadAndTables
from tests.backends.decoder.small_decoders import SPEC, decoder, files
from tests.tasks.text.text_arrays import VOCABULARY

WIDTH = 512
IDS = torch.arange(12)[None] % VOCABULARY
MATRIX = VOCABULARY * WIDTH
"""Elements of the table, which is tied to the output layer."""


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tied") / "plain.onnx"
    sizes = {"hidden_size": WIDTH, "num_attention_heads": 4, "tie_word_embeddings": True}
    export_onnx(decoder("llama", **sizes), SPEC, path)
    return path


def build(path: Path, scheme: str = "weight_int4", rounding: str = "nearest", **parts: object) -> onnx.ModelProto:
    batches = [{"input_ids": IDS.numpy(), "attention_mask": np.ones_like(IDS.numpy())}]
    options = SchemeOptions(
        block=64, parts=HeadAndTables(**parts), rounding=rounding,  # type: ignore[arg-type]
        batches=() if rounding in ("nearest", "k_quant") else batches,
    )  # fmt: skip
    return build_models(scheme, graphs.to_ir(onnx_files.load(path)), ("onnxruntime",), options).models["onnxruntime"]


def products(proto: onnx.ModelProto) -> Counter[tuple[int, int]]:
    """Bits and accuracy level of the products."""
    found = []
    for node in proto.graph.node:
        if node.op_type == "MatMulNBits":
            values = {attribute.name: attribute.i for attribute in node.attribute}
            found.append((values["bits"], values["accuracy_level"]))
    return Counter(found)


def test_the_head_has_its_own_bits(tied: Path) -> None:
    assert products(build(tied)) == {(4, 0): 15}
    assert products(build(tied, head=8)) == {(4, 0): 14, (8, 4): 1}
    assert products(build(tied, head="float")) == {(4, 0): 14}
    assert products(build(tied, "block_int8")) == {(8, 0): 15}
    assert products(build(tied, "block_int8", head=4)) == {(8, 0): 14, (4, 4): 1}


@pytest.mark.parametrize("rounding", ["nearest", "k_quant", "gptq", "awq"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_tied_matrix_is_stored_once(tied: Path, rounding: str, bits: int) -> None:
    proto = build(tied, rounding=rounding, head=bits, embedding=bits)
    large = [
        t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.UINT8 and np.prod(t.dims) == MATRIX * bits // 8
    ]
    assert len(large) == 1
    (lookup,) = (node for node in proto.graph.node if node.op_type == "GatherBlockQuantized")
    (reshape,) = (node for node in proto.graph.node if node.output[0] == lookup.input[0])
    head = next(node for node in proto.graph.node if large[0].name in node.input and node.op_type == "MatMulNBits")
    assert reshape.input[0] == head.input[1] == large[0].name
    assert list(lookup.input[2:]) == list(head.input[2:])


def test_with_other_bits_or_without_an_embedding_there_are_two(tied: Path) -> None:
    assert "GatherBlockQuantized" not in {node.op_type for node in build(tied).graph.node}
    two = build(tied, head=8, embedding=4)
    sizes = {int(np.prod(t.dims)) for t in two.graph.initializer if t.data_type == onnx.TensorProto.UINT8}
    assert {MATRIX, MATRIX // 2} <= sizes
    floats = build(tied, embedding="float")
    assert any(t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) == MATRIX for t in floats.graph.initializer)


def test_the_file_with_a_cache_computes_the_same(tied: Path, tmp_path: Path) -> None:
    onnx_files.save(build(tied, head=8, embedding=8), tmp_path / "plain.onnx")
    from compress.backends.decoder.key_value_cache import write_cached
    from compress.backends.onnxruntime_runner import OnnxRuntimeRunner

    write_cached(tmp_path / "plain.onnx", tmp_path / "cached.onnx", logits="all")
    with OnnxRuntimeRunner(tmp_path / "plain.onnx") as runner:
        expected = runner.run({"input_ids": IDS.numpy(), "attention_mask": np.ones_like(IDS.numpy())})[0][0]
    session = DecoderSession(tmp_path / "cached.onnx")
    found = session.read(IDS[0].tolist())
    session.close()
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_positions_of_gpt2_may_be_in_blocks_too(tmp_path: Path) -> None:
    network = decoder("gpt2", n_embd=WIDTH, n_positions=40)
    plain, _ = files(network, tmp_path)
    proto = build(plain, embedding=8)
    assert sum(node.op_type == "GatherBlockQuantized" for node in proto.graph.node) == 2
    onnx_files.save(proto, tmp_path / "quantized.onnx")
    from compress.backends.decoder.key_value_cache import write_cached

    write_cached(tmp_path / "quantized.onnx", tmp_path / "cached.onnx")
    session = DecoderSession(tmp_path / "cached.onnx")
    assert np.isfinite(session.read([1, 2, 3])).all()
    session.close()


def test_a_network_without_an_output_layer_over_a_vocabulary_is_refused(encoder_model: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(encoder_model, tmp_path / "encoder.onnx")
    with pytest.raises(ConversionError, match=r"weight_only\.head is for the output layer of a language model"):
        build(tmp_path / "encoder.onnx", head=8)
