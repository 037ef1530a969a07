"""Commands of one verb."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.cli.run_process import compress


def network(folder: Path, last: str = "Identity") -> Path:
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", size)) for name, size in (("x", 6), ("y", 4))]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node(last, ["h"], ["y"])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    return folder / "net.onnx"


def test_quantize_writes_record_report_artifact_and_recipe_and_infer_runs_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32))
    out = tmp_path / "out"
    done = compress("quantize", str(network(tmp_path)), "--data", str(tmp_path / "data.npz"), "--out", str(out), "--smoke")
    assert done.returncode == 0, done.stderr
    assert "similarity to the original outputs" in done.stdout
    assert f"to repeat: compress pipeline {out}/quantize_net.yaml --smoke" in done.stdout.replace("\n", "")
    (run,) = (out / "quantize_net").iterdir()
    assert {"record.json", "report.md", "report.html", "artifacts"} <= {path.name for path in run.iterdir()}
    np.savez(tmp_path / "one.npz", x=np.ones((1, 6), np.float32))
    answer = compress("infer", str(run), str(tmp_path / "one.npz"), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("y: float32 (1, 4), from ")


def test_prune_of_a_file_with_an_operator_without_gradients_is_refused_in_a_sentence(tmp_path: Path) -> None:
    done = compress("prune", str(network(tmp_path, last="Hardmax")), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "prune needs a network that can be trained, but operator Hardmax (y) of this ONNX file has no" in done.stderr


def test_a_shape_that_does_not_fit_the_file_is_refused(tmp_path: Path) -> None:
    done = compress("export", str(network(tmp_path)), "--shape", "x:1x7", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "its size of 6 is fixed" in done.stderr


def test_an_image_network_with_a_fixed_batch_takes_a_folder_by_its_source(tmp_path: Path) -> None:
    """torch.onnx.export writes a batch of 1 unless it is told otherwise."""
    from PIL import Image

    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "w")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", (1, 3, 12, 20)), ("y", (1, 4)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"]), helper.make_node("GlobalAveragePool", ["h"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx")
    (tmp_path / "photos").mkdir()
    for index in range(24):
        Image.fromarray(rng.integers(0, 255, (30, 30, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{index}.png")
    done = compress("quantize", "net.onnx", "--data", "images:photos", "--out", "out", "--smoke", "--set",
                    "stages.quantize.accept_if={keep: quantized}", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--set 'stages.quantize.accept_if={keep: quantized}'" in done.stdout.replace("\n", " ")
    (run,) = (tmp_path / "out" / "quantize_net").iterdir()
    answer = compress("infer", str(run), str(tmp_path / "photos" / "0.png"), cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("y: float32 (1, 4)")
