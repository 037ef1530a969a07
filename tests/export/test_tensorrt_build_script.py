from __future__ import annotations

import ast
import dataclasses
import itertools
import os
import shlex
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from torch import nn

from compress.backends import tensorrt_engine as engine
from compress.backends import tensorrt_runner as runner
from compress.backends.tensorrt_engine import build_engine, free_shapes
from compress.config.devices import load_device
from compress.core.errors import ConversionError, MissingPackageError, SignatureError
from compress.core.network_spec import NetworkSpec
from compress.core.signature import AxisSizes, Signature, TensorSpec
from compress.core.stage import Candidate, Context
from compress.export.stage import Export
from compress.export.tensorrt_build_script import build_script, trtexec_command, unsupported_reason
from tests.export.tiny import SPEC

NAMES = set((Path(__file__).parents[1] / "backends" / "tensorrt_names.txt").read_text(encoding="utf-8").split())
"""Public names of TensorRT 11.4's Python API: `Class` and `Class.attribute`."""
OBJECTS = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
}
"""Class of each local variable that holds a TensorRT object."""


def dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (parent := dotted(node.value)):
        return f"{parent}.{node.attr}"
    return None


def used() -> set[str]:
    """Every TensorRT name that the builder and the runner touch, as in the list."""
    result = set()
    sources = [Path(module.__file__).read_text(encoding="utf-8") for module in (engine, runner)]
    for node in itertools.chain.from_iterable(ast.walk(ast.parse(source)) for source in sources):
        name = dotted(node) if isinstance(node, ast.Attribute) else None
        if name is None or "__" in name:
            continue
        name = name.removeprefix("self._")
        first, _, rest = name.partition(".")
        if first == "trt":
            result.add(rest)
        elif first in OBJECTS and rest:
            result.add(f"{OBJECTS[first]}.{rest.split('.')[0]}")
    return result


def test_every_tensorrt_name_is_public() -> None:
    names = used()
    assert {"Builder", "IBuilderConfig.set_memory_pool_limit", "OnnxParser.parse_from_file"} <= names
    assert "NetworkDefinitionCreationFlag.STRONGLY_TYPED" in names
    assert {"Runtime.deserialize_cuda_engine", "ICudaEngine.get_tensor_mode", "IExecutionContext.execute_async_v3"} <= names
    assert {"IExecutionContext.set_input_shape", "IExecutionContext.set_tensor_address", "TensorIOMode.INPUT"} <= names
    assert names <= NAMES, names - NAMES


def test_precision_comes_from_the_file_alone() -> None:
    assert not {"BuilderFlag.FP16", "BuilderFlag.INT8", "BuilderFlag.BF16"} & used()
    assert not {"--fp16", "--int8", "--best", "--calib"} & set(trtexec_command("m", "e", SPEC))


def test_missing_package_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'compress\[tensorrt\]'"):
        build_engine(tmp_path / "model.onnx", tmp_path / "model.engine", free_shapes(SPEC.signature))
    assert list(tmp_path.iterdir()) == []


def test_shapes_are_those_of_all_inputs_with_a_free_axis():
    ids = TensorSpec(name="ids", dtype="int64", shape=("batch", "tokens"))
    image = TensorSpec(name="image:0", shape=("batch", 3, "height", 8))
    fixed = TensorSpec(name="rate", shape=(4,))
    sizes = {"tokens": AxisSizes(1, 128, 512), "height": AxisSizes(32, 32, 64)}
    command = trtexec_command(
        "m.onnx",
        "m.engine",
        NetworkSpec(signature=Signature(inputs=(ids, image, fixed), sizes=sizes)),
        batch=AxisSizes(1, 2, 4),
    )
    assert [part for part in command if "hapes=" in part] == [
        "--minShapes=ids:1x1,'image:0':1x3x32x8",
        "--optShapes=ids:2x128,'image:0':2x3x32x8",
        "--maxShapes=ids:4x512,'image:0':4x3x64x8",
        "--shapes=ids:2x128,'image:0':2x3x32x8",
    ]
    with pytest.raises(SignatureError, match="the size of the free axis 'tokens' is unknown"):
        trtexec_command("m.onnx", "m.engine", NetworkSpec(signature=Signature(inputs=(ids,))))
    static = trtexec_command("m.onnx", "m.engine", NetworkSpec(signature=Signature(inputs=(fixed,))))
    assert not any("hapes" in part for part in static), "trtexec refuses shapes of a network without free axes"


def test_command_writes_every_choice_out() -> None:
    command = trtexec_command("m.onnx", "m.engine", SPEC, batch=AxisSizes(1, 4, 16))
    assert command[0] == "trtexec"
    flags = dict(part.removeprefix("--").partition("=")[::2] for part in command[1:])
    assert flags["onnx"] == "m.onnx"
    assert flags["saveEngine"] == "m.engine"
    assert (flags["minShapes"], flags["optShapes"], flags["maxShapes"]) == (
        "input:1x3x16x12",
        "input:4x3x16x12",
        "input:16x3x16x12",
    )
    assert flags["shapes"] == "input:4x3x16x12"
    assert flags["percentile"] == "50,90,99"
    expected = {"stronglyTyped", "useCudaGraph", "useSpinWait", "noDataTransfers", "iterations", "warmUp", "duration"}
    assert expected | {"exportTimes", "exportProfile", "exportLayerInfo", "separateProfileRun", "timingCacheFile"} <= set(flags)
    assert (flags["infStreams"], flags["avgRuns"]) == ("1", "1")
    assert "useDLACore" not in flags
    assert flags["sparsity"] == "disable"


ARGUMENTS_8_5 = {
    "onnx",
    "saveEngine",
    "minShapes",
    "optShapes",
    "maxShapes",
    "shapes",
    "memPoolSize",
    "timingCacheFile",
    "profilingVerbosity",
    "sparsity",
    "useCudaGraph",
    "useSpinWait",
    "noDataTransfers",
    "streams",
    "iterations",
    "warmUp",
    "duration",
    "avgRuns",
    "percentile",
    "separateProfileRun",
    "exportTimes",
    "exportProfile",
    "exportLayerInfo",
    "int8",
}
"""Those of trtexec 8.5.3 that a script may use, from its samples/common/sampleOptions.cpp."""


def test_the_script_for_an_older_release_has_arguments_of_that_release() -> None:
    command = trtexec_command("m", "e", SPEC, release="8.5", int8=True)
    assert {part.removeprefix("--").partition("=")[0] for part in command[1:]} == ARGUMENTS_8_5
    assert "--int8" not in trtexec_command("m", "e", SPEC, release="8.5")
    assert {"--builderOptimizationLevel=3", "--infStreams=1"} <= set(trtexec_command("m", "e", SPEC, release="8.6.1"))
    assert "--stronglyTyped" not in trtexec_command("m", "e", SPEC, release="8.6.1")
    assert "--stronglyTyped" in trtexec_command("m", "e", SPEC, release="10.3", int8=True)
    text = build_script(SPEC, release="8.5", opset=18)
    assert "up to 17; model.onnx has 18" in text
    with pytest.raises(ConversionError, match=r"supported are 8\.5 and later"):
        build_script(SPEC, release="8.2")


def test_the_profile_of_a_board_with_an_old_release_says_so(network: nn.Module, context: Context) -> None:
    xavier = load_device("jetson_xavier_nx")
    assert xavier.runtime_release == "8.5"
    Export(formats=("tensorrt",)).run(Candidate(SPEC, network), dataclasses.replace(context, targets=(xavier,)))
    script = (context.folder / "artifacts" / "jetson_xavier_nx" / "build_engine.sh").read_text(encoding="utf-8")
    assert "--stronglyTyped" not in script
    assert "--streams=1" in script


def test_script_says_it_was_not_run_and_calls_trtexec(tmp_path: Path) -> None:
    script = tmp_path / "build_engine.sh"
    script.write_text(build_script(SPEC), encoding="utf-8")
    assert "has not been run" in script.read_text(encoding="utf-8")
    stand_in = tmp_path / "bin" / "trtexec"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(["sh", script, "--verbose"], capture_output=True, text=True, check=True, env={"PATH": path})
    folder, *arguments = result.stdout.splitlines()
    assert folder == str(tmp_path)
    assert arguments == [*trtexec_command("model.onnx", "model.engine", SPEC)[1:], "--verbose"]


def test_script_quotes_nothing_away() -> None:
    text = build_script(SPEC).split("\nexec ", 1)[1].replace("\\\n", "").replace('"$@"', "")
    assert shlex.split(text) == trtexec_command("model.onnx", "model.engine", SPEC)


def model_with_zero_point(zero: onnx.TensorProto) -> onnx.ModelProto:
    helper = onnx.helper
    value = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])  # noqa: E731
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["logits"]),
    ]
    scale = helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [0.1])
    return helper.make_model(helper.make_graph(nodes, "g", [value("input")], [value("logits")], [scale, zero]))


@pytest.mark.parametrize(
    ("kind", "zero", "fits"),
    [(onnx.TensorProto.INT8, 0, True), (onnx.TensorProto.INT8, 3, False), (onnx.TensorProto.UINT8, 0, False)],
)
def test_only_int8_around_zero_fits(tmp_path: Path, kind: int, zero: int, fits: bool) -> None:
    onnx.save(model_with_zero_point(onnx.helper.make_tensor("zero", kind, [], [zero])), tmp_path / "model.onnx")
    assert (unsupported_reason(tmp_path / "model.onnx") is None) is fits


def test_float_network_fits(exported: Path) -> None:
    assert unsupported_reason(exported) is None
