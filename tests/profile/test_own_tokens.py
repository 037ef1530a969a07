import numpy as np
import onnx
from onnx import TensorProto, helper

from compress.profile.own_tokens import within_table


def embedding(path, rows):
    """A file that looks tokens up in a table of `rows` rows, and adds the types of tokens."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", "types")]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", 2])
    table = helper.make_tensor("table", TensorProto.FLOAT, [rows, 2], np.zeros(rows * 2))
    two = helper.make_tensor("two", TensorProto.FLOAT, [2, 2], np.zeros(4))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["a"]),
        helper.make_node("Gather", ["two", "types"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, [output], [table, two])), path)
    return path


def test_tokens_have_rows_in_the_table_of_the_file(tmp_path):
    path = embedding(tmp_path / "m.onnx", 5)
    ids = np.array([[0, 4, 5, 12]])
    fitted = within_table({"input_ids": ids}, path)
    assert fitted["input_ids"].tolist() == [[0, 4, 0, 2]]
    assert fitted["types"].tolist() == [[0, 0, 0, 0]]
    assert fitted["types"].dtype == ids.dtype


def test_tokens_of_the_file_and_other_inputs_stay(tmp_path):
    path = embedding(tmp_path / "m.onnx", 50)
    ids = np.array([[0, 4, 49]])
    assert within_table({"input_ids": ids, "types": ids % 2}, path)["input_ids"] is ids
    images = {"input": np.zeros((1, 3, 4, 4), np.float32)}
    assert within_table(images, tmp_path / "missing.onnx") is images
