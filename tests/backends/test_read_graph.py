from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compress.backends.read_graph import read_graph
from compress.core.errors import ConversionError


def write_network(path: Path) -> onnx.ModelProto:
    """A network whose weight is in a second file."""
    weight = onnx.numpy_helper.from_array(np.arange(1024, dtype=np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1024]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return model


def test_the_graph_is_read_without_the_file_of_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = write_network(path)
    (tmp_path / "weights.bin").unlink()
    graph = read_graph(path).graph
    assert list(graph.node) == list(model.graph.node)
    assert (graph.initializer[0].data_location, graph.initializer[0].raw_data) == (TensorProto.EXTERNAL, b"")


@pytest.mark.parametrize("name", ["text.onnx", "text.json", "cut.onnx"])
def test_a_file_that_is_not_onnx_is_refused_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_network(path)
    path.write_bytes(path.read_bytes()[:-5] if name == "cut.onnx" else b"no network")
    with pytest.raises(ConversionError, match=r"is not an ONNX file, or it is truncated; export it again"):
        read_graph(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"cannot read .*absent\.onnx: No such file"):
        read_graph(tmp_path / "absent.onnx")
