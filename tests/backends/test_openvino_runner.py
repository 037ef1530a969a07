import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from compress.backends import onnxruntime_runner, openvino_runner
from compress.backends.openvino_runner import OpenVinoRunner
from compress.core.errors import ConversionError, DeviceError, MissingPackageError
from tests.backends.test_onnxruntime_runner import empty, missing, text, truncated, without_weights_file
from tests.profile.onnx_models import model, network

MAPPINGS = Path("/proc/self/maps")
INPUTS = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def installed():
    pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'compress[openvino]'")


def test_without_the_package_the_install_line_is_told(tiny: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'compress\[openvino\]'"):
        OpenVinoRunner(tiny).__enter__()


@pytest.mark.usefixtures("installed")
def test_it_answers_like_onnx_runtime(tiny: Path):
    with OpenVinoRunner(tiny) as runner, onnxruntime_runner.OnnxRuntimeRunner(tiny) as reference:
        (found,), (expected,) = runner.run({"x": INPUTS}), reference.run({"x": INPUTS})
        assert runner.shapes() == {"x": ((None, 3, 8, 8), "float32")}
        assert runner.sample(4)["x"].shape == (4, 3, 8, 8)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.usefixtures("installed")
def test_each_run_gives_arrays_of_its_own(tiny: Path):
    with OpenVinoRunner(tiny) as runner:
        first = runner.run({"x": INPUTS})[0]
        before = first.copy()
        runner.run({"x": -3 * INPUTS})
    np.testing.assert_array_equal(first, before)


@pytest.mark.usefixtures("installed")
def test_settings_are_those_of_the_compiled_model(tiny: Path):
    with OpenVinoRunner(tiny, threads=1) as runner:
        described = runner.describe()
    assert described["runtime"].startswith("OpenVINO 20")
    assert (described["threads"], described["performance hint"], described["num streams"]) == ("1", "LATENCY", "1")
    assert described["inference precision hint"] == "float32"


@pytest.mark.usefixtures("installed")
def test_it_is_freed_by_with(tiny: Path):
    runner = OpenVinoRunner(tiny)
    with runner:
        pass
    with pytest.raises(RuntimeError, match="is not loaded: use the runner in a with block"):
        runner.run({"x": INPUTS})


@pytest.mark.usefixtures("installed")
def test_a_process_makes_one_core_however_often_it_loads(tiny: Path, monkeypatch):
    import openvino

    created = []
    core = openvino.Core
    monkeypatch.setattr(openvino, "Core", lambda: created.append(1) or core())
    openvino_runner._shared_core.cache_clear()
    with OpenVinoRunner(tiny) as first, OpenVinoRunner(tiny) as second:
        first.reload()
        second.run({"x": INPUTS})
    with OpenVinoRunner(tiny):
        pass
    assert created == [1]


@pytest.mark.usefixtures("installed")
@pytest.mark.skipif(not MAPPINGS.exists(), reason="counts the memory mappings in /proc")
def test_thousands_of_loads_in_one_process_stay_within_its_memory_mappings(tiny: Path):
    """Each compiled model leaves some pages with other rights; Linux allows a process 65,530 mappings and ends it beyond."""

    def load(times: int) -> int:
        for _ in range(times):
            with OpenVinoRunner(tiny) as runner:
                runner.run({"x": INPUTS})
        return len(MAPPINGS.read_text().splitlines())

    first, second = load(15), load(25)
    assert first + 10_000 * (second - first) / 25 < 65_530


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, "No such file"),
        (text, "not an ONNX file"),
        (empty, "not an ONNX file"),
        (truncated, "not an ONNX file, or it is truncated"),
        (without_weights_file, "external data file is missing"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(make, says, tmp_path: Path):
    path = make(tmp_path)
    with pytest.raises(ConversionError, match=says) as raised, OpenVinoRunner(path):
        pass
    assert str(path) in str(raised.value)


@pytest.mark.usefixtures("installed")
def test_an_operator_it_does_not_have_is_told(save):
    odd = helper.make_node("Twirl", ["x"], ["y"], domain="nowhere")
    built = model([odd], {}, "y")
    built.opset_import.append(helper.make_opsetid("nowhere", 1))
    with pytest.raises(ConversionError, match="OpenVINO rejects it"), OpenVinoRunner(save("odd.onnx", built)):
        pass


@pytest.mark.usefixtures("installed")
def test_inputs_that_do_not_fit_are_told(tiny: Path, save):
    with (
        OpenVinoRunner(tiny) as runner,
        pytest.raises(ConversionError, match=r"does not run on inputs x \(2, 2, 8, 8\).*expected are"),
    ):
        runner.run({"x": INPUTS[:, :2]})
    free = save("free.onnx", network(shape=["n", 3, "h", "w"]))
    with OpenVinoRunner(free) as runner, pytest.raises(DeviceError, match="unknown dimensions"):
        runner.sample()


def test_properties_read_as_words():
    assert openvino_runner._plain("<Type: 'float32'>") == "float32"
    assert openvino_runner._plain(1) == "1"
