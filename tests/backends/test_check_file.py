from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.backends import check_file
from compress.backends.check_file import check_onnx_file
from compress.core.errors import ConversionError

Edit = Callable[[onnx.ModelProto], object]


def network(shape: tuple[int | str, ...] = ("batch", 3, 8, 8)) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["features"], name="conv"),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "weight")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("input", TensorProto.FLOAT, shape)], [value("logits", TensorProto.FLOAT, None)], [weight]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def external(location: str, offset: str = "0") -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", "432")):
            tensor.external_data.add(key=key, value=value)

    return edit


def test_a_plain_file_and_one_with_data_beside_it_pass(tmp_path: Path) -> None:
    path, model = tmp_path / "model.onnx", network()
    path.write_bytes(model.SerializeToString())
    check_onnx_file(path)
    (tmp_path / "weights.bin").write_bytes(bytes(432))
    external("weights.bin")(model)
    path.write_bytes(model.SerializeToString())
    check_onnx_file(path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (external("../weights.bin"), "external data"),
        (external("/etc/passwd"), "external data"),
        (external("weights.bin", "-5"), "external data"),
        (external("weights.bin", "x"), "external data"),
        (external("missing.bin"), "external data|cannot read"),
        (lambda model: model.ClearField("opset_import"), "no ONNX opset"),
    ],
)
def test_odd_files_are_refused_in_words(tmp_path: Path, edit: Edit, message: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(432))
    model = network()
    edit(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match=message):
        check_onnx_file(tmp_path / "model.onnx")


@pytest.mark.parametrize(("text", "damaged"), [(b"weight", b"we\xff\xfeht"), (b"batchaxis", b"batch\xffxis")])
def test_texts_that_are_not_utf8_are_refused(tmp_path: Path, text: bytes, damaged: bytes) -> None:
    model = network()
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "batchaxis"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString().replace(text, damaged))
    with pytest.raises(ConversionError, match="not UTF-8"):
        check_onnx_file(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 3, 8, 8), "below 1"),
        ((-2, 3, 8, 8), "below 1"),
        ((10**12, 3, 8, 8), "GB, allowed are 2.1 GB"),
        ((1, 3, 10**6, 10**6), "GB, allowed are 2.1 GB"),
    ],
)
def test_inputs_of_an_impossible_size_are_refused(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    (tmp_path / "model.onnx").write_bytes(network(shape).SerializeToString())
    with pytest.raises(ConversionError, match=message):
        check_onnx_file(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("code", "message"),
    [("import os; os.kill(os.getpid(), 11)", "crashes on .*signal 11"), ("import time; time.sleep(60)", "takes longer than")],
)
def test_a_crash_or_a_hang_of_the_runtime_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    (tmp_path / "model.onnx").write_bytes(network().SerializeToString())
    probe = tmp_path / "probe.py"
    probe.write_text(code)
    monkeypatch.setattr(check_file, "PROBE", probe)
    with pytest.raises(ConversionError, match=message):
        check_onnx_file(tmp_path / "model.onnx", timeout_s=3.0)
