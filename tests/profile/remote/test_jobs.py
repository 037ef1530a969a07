import json

import numpy as np
import onnx
import pytest

from compress.config.devices import host, load_device
from compress.core.errors import ConversionError, DeviceError
from compress.profile.remote.jobs import build_arguments, build_job, time_arguments
from tests.profile.onnx_models import network

SETTINGS = {"batch": 2, "seconds": 6.0, "warmup_seconds": 0.3, "trtexec": None}
ONNX_RUNTIME, TENSORRT = host(), load_device("jetson")


def test_trtexec_arguments_name_free_sizes_only():
    fixed = build_arguments("m.onnx", {})
    assert not any("Shapes" in argument for argument in fixed)
    free = build_arguments("m.onnx", {"x": (1, 3, 8, 8), "y": (1, 2)})
    assert "--maxShapes=x:1x3x8x8,y:1x2" in free
    timed = time_arguments("m.onnx", {}, {"x": "inputs/0.bin"}, {"seconds": 60.0, "warmup_seconds": 1.0})
    assert {"--loadEngine=m.onnx.engine", "--loadInputs=x:inputs/0.bin", "--duration=10", "--warmUp=1000"} <= set(timed)


def inputs(value: float) -> dict[str, np.ndarray]:
    return {"x": np.full((2, 3, 8, 8), value, np.float32)}


def test_an_order_is_json_and_names_every_file_that_is_sent(tiny, save):
    files = {"teacher": save("teacher.onnx", network(channels=8)), "artifact": tiny}
    job = build_job(files, {"teacher": inputs(0), "artifact": inputs(1)}, ONNX_RUNTIME, SETTINGS)
    order = json.loads(json.dumps(job.order))
    assert order["job"] == "onnxruntime"
    assert set(order["files"].values()) == set(job.files)
    assert {path for feeds in order["feeds"].values() for path in feeds.values()} == set(job.arrays)
    assert [job.files[order["files"][name]] for name in files] == list(files.values())
    assert job.arrays[order["feeds"]["artifact"]["x"]].mean() == 1


def test_files_of_one_name_do_not_overwrite_each_other(tmp_path, save):
    other = tmp_path / "other"
    other.mkdir()
    onnx.save(network(), other / "model.onnx")
    files = {"teacher": save("model.onnx", network(channels=8)), "artifact": other / "model.onnx"}
    job = build_job(files, None, ONNX_RUNTIME, SETTINGS)
    assert len(job.files) == 2
    assert set(job.files.values()) == set(files.values())


def test_weights_beside_the_file_stay_beside_it(tmp_path):
    path = tmp_path / "outside.onnx"
    onnx.save(network(channels=64), path, save_as_external_data=True, location="outside.bin", size_threshold=0)
    job = build_job({"artifact": path}, None, ONNX_RUNTIME, SETTINGS)
    assert {name.rpartition("/")[0] for name in job.files} == {"models/0"}
    assert {name.rpartition("/")[2] for name in job.files} == {"outside.onnx", "outside.bin"}
    (tmp_path / "outside.bin").unlink()
    with pytest.raises(ConversionError, match=r"external data is missing: keep .*outside\.bin"):
        build_job({"artifact": path}, None, ONNX_RUNTIME, SETTINGS)


def test_onnxruntime_makes_zeros_there_and_trtexec_gets_them_as_raw_files(tiny):
    there = build_job({"artifact": tiny}, None, ONNX_RUNTIME, SETTINGS)
    assert (there.arrays, there.order["feeds"]) == ({}, None)
    sent = build_job({"artifact": tiny}, None, TENSORRT, SETTINGS)
    ((path, zeros),) = sent.arrays.items()
    assert path.endswith(".bin")
    assert zeros.shape == (2, 3, 8, 8)
    assert not zeros.any()
    assert f"--loadInputs=x:{path}" in sent.order["time"]["artifact"]
    assert "--shapes=x:2x3x8x8" in sent.order["time"]["artifact"]


def test_a_file_of_fixed_sizes_has_no_shape_arguments(save):
    path = save("fixed.onnx", network(shape=[1, 3, 8, 8]))
    job = build_job({"artifact": path}, None, TENSORRT, SETTINGS)
    arguments = job.order["build"]["artifact"] + job.order["time"]["artifact"]
    assert not any("hapes=" in argument for argument in arguments)


def test_turns_share_the_time_and_last_at_least_a_second():
    def seconds(total: float) -> int:
        (argument,) = (a for a in time_arguments("m", {}, {}, {**SETTINGS, "seconds": total}) if a.startswith("--duration="))
        return int(argument.partition("=")[2])

    assert [seconds(total) for total in (0.1, 6.0, 60.0)] == [1, 1, 10]


def test_what_cannot_be_sent_is_an_error_before_a_connection(tmp_path, save):
    text = tmp_path / "text.onnx"
    text.write_text("not a network")
    for path, device, error, match in (
        (text, ONNX_RUNTIME, ConversionError, "not an ONNX file"),
        (tmp_path / "none.onnx", ONNX_RUNTIME, ConversionError, "No such file"),
        (save("free.onnx", network(shape=["n", 3, "h", "w"])), TENSORRT, DeviceError, "only the batch dimension may be free"),
    ):
        with pytest.raises(error, match=match):
            build_job({"artifact": path}, None, device, SETTINGS)
    openvino = host().model_copy(update={"runtime": "openvino"})
    with pytest.raises(DeviceError, match="openvino is not measured over SSH"):
        build_job({"artifact": save("a.onnx", network())}, None, openvino, SETTINGS)
