from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from compress.backends import onnxruntime_runner as module
from compress.backends.onnxruntime_runner import OnnxRuntimeRunner, provider_of
from compress.backends.runner_protocol import allowed_cpus, pinned
from compress.core.errors import ConversionError, DeviceError
from tests.profile.onnx_models import make_model, model, network, streaming, tensor


def test_it_answers_like_numpy(save):
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = save("product.onnx", model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weights}, "y", ["n", 3]))
    inputs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    with OnnxRuntimeRunner(path) as runner:
        np.testing.assert_allclose(runner.run({"x": inputs})[0], inputs @ weights, rtol=1e-5)


def test_it_is_freed_by_with(tiny: Path):
    runner = OnnxRuntimeRunner(tiny)
    with runner:
        assert runner.describe()["provider"] == "CPUExecutionProvider"
    with pytest.raises(RuntimeError, match="is not loaded: use the runner in a with block"):
        runner.run({})


def test_settings_reach_the_session(tiny: Path):
    with OnnxRuntimeRunner(tiny, threads=2, spinning=True, level="off") as runner:
        options = runner._session.get_session_options()
        assert options.intra_op_num_threads == 2
        assert options.inter_op_num_threads == 1
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
        described = runner.describe()
    assert (described["threads"], described["spinning"], described["graph optimization"]) == ("2", "on", "off")


def test_a_free_batch_is_set_and_other_free_dimensions_are_refused(tiny: Path, save):
    with OnnxRuntimeRunner(tiny) as runner:
        assert runner.sample(3)["x"].shape == (3, 3, 8, 8)
    free = save("free.onnx", network(shape=["n", 3, "h", "w"]))
    with (
        OnnxRuntimeRunner(free) as runner,
        pytest.raises(DeviceError, match=r"free\.onnx.*'x' has unknown dimensions.*export with fixed"),
    ):
        runner.sample()


@pytest.mark.parametrize(("level", "nodes"), [("off", 3), ("basic", 1)])
def test_the_graph_level_is_what_the_runtime_optimizes(level, nodes, save, tmp_path: Path):
    twice = [helper.make_node("Identity", ["x"], ["a"]), helper.make_node("Identity", ["a"], ["b"])]
    path = save("names.onnx", model([*twice, helper.make_node("Relu", ["b"], ["y"])], {}, "y"))

    class Saving(OnnxRuntimeRunner):
        def _options(self):
            options = super()._options()
            options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
            return options

    with Saving(path, level=level) as runner:
        assert runner.describe()["graph optimization"] == level
    assert len(onnx.load(tmp_path / "optimized.onnx").graph.node) == nodes


def test_a_provider_that_is_not_installed_is_told_with_those_that_are(tiny: Path):
    with pytest.raises(DeviceError, match=r"has no QNNExecutionProvider, only .*CPUExecutionProvider.*onnxruntime-qnn"):
        OnnxRuntimeRunner(tiny, provider="qnn").__enter__()
    with pytest.raises(DeviceError, match="did you mean 'cuda'"):
        OnnxRuntimeRunner(tiny, provider="cudda").__enter__()


def test_a_provider_that_does_not_start_is_not_taken_for_one_that_does(tiny: Path, monkeypatch):
    monkeypatch.setattr(
        module.onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(module.onnxruntime, "InferenceSession", FellBack)
    with pytest.raises(DeviceError, match=r"CUDAExecutionProvider did not start, and ONNX Runtime uses CPUExecutionProvider"):
        OnnxRuntimeRunner(tiny, provider="cuda").__enter__()


class FellBack:
    def __init__(self, _path, _options, providers):
        assert providers == ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_providers(self):
        return ["CPUExecutionProvider"]


def test_threads_are_pinned_and_freed_again(tiny: Path):
    before = allowed_cpus()
    with pinned(before[:1]), OnnxRuntimeRunner(tiny) as runner:
        assert allowed_cpus() == before[:1]
        if len(before) > 1:
            assert runner.describe()["affinity"].startswith(f"pinned to processors {before[0]} of ")
    assert allowed_cpus() == before
    with pinned(()):
        assert allowed_cpus() == before
    with pytest.raises(DeviceError, match=r"cannot pin to processors 9999: allowed are "), pinned((9999,)):
        pass


def test_out_of_memory_is_told_with_the_size(save):
    nodes = [helper.make_node("Expand", ["x", "s"], ["y"])]
    path = save("huge.onnx", model(nodes, {"s": np.array([2**46], dtype=np.int64)}, "y", [1]))
    with (
        OnnxRuntimeRunner(path) as runner,
        pytest.raises(DeviceError, match=r"out of memory while running .*huge\.onnx.*281474976710656"),
    ):
        runner.run({"x": np.zeros(1, np.float32)})


def test_out_of_memory_while_loading_is_told_with_the_size(tiny: Path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(module.onnxruntime, "InferenceSession", full)
    with pytest.raises(DeviceError, match=r"out of memory while loading .*tiny\.onnx \(.* MB on disk\)"):
        OnnxRuntimeRunner(tiny).__enter__()


@pytest.mark.parametrize(
    "feeds", [{"x": np.zeros((1, 2, 8, 8), np.float32)}, {"z": np.zeros(1)}, {"x": np.zeros((1, 3, 8, 8), np.int64)}]
)
def test_inputs_that_do_not_fit_are_told_with_those_that_do(feeds, tiny: Path):
    with (
        OnnxRuntimeRunner(tiny) as runner,
        pytest.raises(ConversionError, match=r"does not run on inputs . \(.*expected are .*'x'"),
    ):
        runner.run(feeds)


def missing(folder: Path) -> Path:
    return folder / "nowhere.onnx"


def text(folder: Path) -> Path:
    path = folder / "text.onnx"
    path.write_text("this is no network\n")
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.onnx"
    path.touch()
    return path


def truncated(folder: Path) -> Path:
    path = folder / "short.onnx"
    path.write_bytes(network(64).SerializeToString()[:2000])
    return path


def without_weights_file(folder: Path) -> Path:
    path = folder / "external.onnx"
    onnx.save(network(64), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").unlink()
    return path


def newer_opset(folder: Path) -> Path:
    path = folder / "opset.onnx"
    onnx.save(model([helper.make_node("Relu", ["x"], ["y"])], {}, "y", opset=99), path)
    return path


def newer_ir(folder: Path) -> Path:
    path = folder / "ir.onnx"
    onnx.save(model([helper.make_node("Relu", ["x"], ["y"])], {}, "y", ir=99), path)
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, "no such file"),
        (text, "not an ONNX file"),
        (empty, "not an ONNX file"),
        (truncated, "not an ONNX file, or a truncated one"),
        (without_weights_file, "external data file is missing"),
        (newer_opset, "opset is newer than this runtime"),
        (newer_ir, "IR version is newer than this runtime"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(make, says, tmp_path: Path):
    path = make(tmp_path)
    with pytest.raises(ConversionError, match=says) as raised, OnnxRuntimeRunner(path):
        pass
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("runtime", "provider"),
    [("onnxruntime", "CPU"), ("onnxruntime:cuda", "CUDA"), ("onnxruntime:tensorrt", "Tensorrt"), ("tensorrt", "CPU")],
)
def test_what_executes_is_told_by_the_runtime_s_own_name(runtime, provider):
    assert provider_of(runtime) == f"{provider}ExecutionProvider"
    assert provider_of("openvino") == "openvino"


def test_a_custom_operator_is_named_with_what_to_do(save):
    nodes = [helper.make_node("Fancy", ["x"], ["y"], domain="maker")]
    built = make_model(nodes, [tensor("x", 1, ["n", 4])], [tensor("y", 1, None)])
    built.opset_import.append(helper.make_opsetid("maker", 1))
    runner = OnnxRuntimeRunner(save("custom.onnx", built))
    with pytest.raises(ConversionError, match=r"custom operator that ONNX Runtime does not know: export it .*maker[:.]+Fancy"):
        runner.__enter__()


def test_a_branch_that_does_not_run_is_named(save):
    feeds = {"input": np.zeros((1, 300), np.float32), "state": np.zeros((2, 1, 4), np.float32), "sr": np.array(16000)}
    with (
        OnnxRuntimeRunner(save("streaming.onnx", streaming())) as runner,
        pytest.raises(
            ConversionError, match=r"control flow of its node 'by_rate' \(If\) does not run on inputs input \(1, 300\)"
        ),
    ):
        runner.run(feeds)
