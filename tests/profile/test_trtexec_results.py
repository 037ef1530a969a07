import json

import pytest

from compress.core.errors import DeviceError
from compress.profile.trtexec_results import WARMUP_MS, read_layers, read_row, read_times
from tests.cli.run_process import compress


def run(index, compute, copies=True):
    """One run as the samples of TensorRT write it; a new one every 5 ms after the warm-up."""
    start = WARMUP_MS + 5.0 * index
    h2d, d2h = (0.25, 0.125) if copies else (0.0, 0.0)
    return {
        "startEnqMs": start,
        "endEnqMs": start + 0.01,
        "startH2dMs": start if copies else 0.0,
        "endH2dMs": start + h2d if copies else 0.0,
        "startComputeMs": start + h2d,
        "endComputeMs": start + h2d + compute,
        "startD2hMs": start + h2d + compute if copies else 0.0,
        "endD2hMs": start + h2d + compute + d2h if copies else 0.0,
        "h2dMs": h2d,
        "computeMs": compute,
        "d2hMs": d2h,
        "latencyMs": h2d + compute + d2h,
    }


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "jetson"
    folder.mkdir()
    times = [run(index, 2.0 + 0.001 * (index % 7)) for index in range(400)]
    (folder / "times.json").write_text(json.dumps(times))
    layers = [
        {"count": 400},
        {"name": "conv1 + relu1", "timeMs": 400.0, "averageMs": 1.0, "medianMs": 0.99, "percentage": 40.0},
        {"name": "fc", "timeMs": 600.0, "averageMs": 1.5, "medianMs": 1.49, "percentage": 60.0},
        {"name": "Reformatting CopyNode", "timeMs": 0.0, "averageMs": 0.0, "medianMs": 0.0, "percentage": 0.0},
    ]
    (folder / "layers.json").write_text(json.dumps(layers))
    engine = {
        "Layers": [
            {
                "Name": "conv1 + relu1",
                "LayerType": "CaskConvolution",
                "Inputs": [{"Name": "input", "Dimensions": [4, 3, 8, 8], "Format/Datatype": "Int8"}],
                "Metadata": "[ONNX Layer: /conv1/Conv]\x1e[ONNX Layer: /relu1/Relu]",
            },
            {"Name": "fc", "LayerType": "gemm", "Inputs": [], "Metadata": "[ONNX Layer: /fc/Gemm]"},
        ],
        "Bindings": ["input", "logits"],
    }
    (folder / "engine.json").write_text(json.dumps(engine))
    return folder


def test_a_folder_becomes_a_row(folder):
    found = read_row(folder, "jetson_orin_nano")
    assert (found.subject, found.device, found.runtime) == ("jetson", "jetson_orin_nano", "TensorRT, by trtexec")
    quantities = found.quantities
    assert quantities["latency_p50_ms"].value == pytest.approx(2.378)
    assert quantities["latency_p99_ms"].how == "measured"
    assert quantities["compute_ms"].value == pytest.approx(2.003)
    assert (quantities["copy_in_ms"].value, quantities["copy_out_ms"].value) == (0.25, 0.125)
    wall = (5.0 * 399 + 0.25 + 2.0 + 0.125) / 1000
    assert quantities["throughput_per_s"].value == pytest.approx(400 * 4 / wall, rel=1e-3)
    assert "batch 4" in quantities["latency_p50_ms"].detail
    assert "copies included" in quantities["latency_p50_ms"].detail


def test_without_transfers_copies_are_not_measured(folder):
    (folder / "times.json").write_text(json.dumps([run(index, 2.0, copies=False) for index in range(100)]))
    quantities = read_row(folder, "jetson_orin_nano").quantities
    assert quantities["copy_in_ms"].how == quantities["copy_out_ms"].how == "not measured"
    assert "--noDataTransfers" in quantities["copy_in_ms"].detail
    assert quantities["latency_p50_ms"].value == quantities["compute_ms"].value == 2.0
    assert quantities["latency_p99_ms"].how == "not measured"
    assert quantities["throughput_per_s"].value == pytest.approx(400 / (0.005 * 99 + 0.002), rel=1e-6)


def test_every_run_is_read_and_a_file_without_runs_is_an_error(folder):
    assert len(read_times(folder / "times.json").latency_ms) == 400
    (folder / "times.json").write_text("[]")
    with pytest.raises(DeviceError, match="contains no run"):
        read_times(folder / "times.json")


def test_layers_come_slowest_first_with_their_onnx_nodes(folder):
    rows = read_layers(folder)
    assert [row["layer"] for row in rows] == ["fc", "conv1 + relu1", "Reformatting CopyNode"]
    assert rows[1] == {
        "layer": "conv1 + relu1",
        "kind": "CaskConvolution",
        "onnx_nodes": "/conv1/Conv, /relu1/Relu",
        "median_ms": 0.99,
        "share": 0.4,
    }
    assert rows[2]["kind"] is None
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)


def test_release_8_has_no_median_and_names_layers_only(folder):
    (folder / "layers.json").write_text('[{"count": 2}, {"name": "a", "timeMs": 3, "averageMs": 1.5, "percentage": 100}]')
    (folder / "engine.json").write_text('{"Layers": ["a"], "Bindings": []}')
    ((row),) = read_layers(folder)
    assert (row["median_ms"], row["kind"]) == (1.5, None)
    quantities = read_row(folder, "d").quantities
    assert quantities["throughput_per_s"].how == "not measured"


def test_the_command_reads_a_folder(folder):
    done = compress("profile", folder)
    assert "jetson on jetson (TensorRT, by trtexec)" in done.stdout
    assert "60.0%: fc (/fc/Gemm)" in done.stdout
    (folder / "times.json").unlink()
    done = compress("profile", folder)
    assert done.returncode == 2
    assert "build_engine.sh writes it beside the engine" in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{", "is not JSON.*run build_engine.sh again"),
        ("{}", "not what trtexec exports: the file: Input should be a valid array"),
        ('[{"startComputeMs": 1}]', "0.startH2dMs: Field required"),
        (json.dumps([run(0, 2.0) | {"startComputeMs": "1"}]), "0.startComputeMs: Input should be a valid number, got '1'"),
        (json.dumps([run(0, 2.0) | {"latencyMs": 0}]), "0.latencyMs: Input should be greater than 0"),
        (json.dumps([run(0, 2.0) | {"computeMs": float("inf")}]), "0.computeMs: Input should be a finite number"),
        ("[" * 5000, "is not JSON"),
        ("[]", "contains no run"),
    ],
)
def test_what_trtexec_did_not_write_is_refused(text, says, folder):
    (folder / "times.json").write_text(text)
    with pytest.raises(DeviceError, match=says):
        read_row(folder, "d")


@pytest.mark.parametrize("value", [["x"], {"a": 1}, [None], 3, [[1]], "4"])
def test_dimensions_that_are_no_list_of_integers_are_refused(value, folder):
    (folder / "engine.json").write_text(json.dumps({"Layers": [{"Name": "a", "Inputs": [{"Dimensions": value}]}]}))
    with pytest.raises(DeviceError, match=r"Inputs\.0\.Dimensions"):
        read_row(folder, "d")


@pytest.mark.parametrize("engine", [{"Layers": [{"Name": "a", "Inputs": {"a": 1}}]}, {"Layers": 3}, [], {"Layers": [None]}])
def test_an_engine_file_of_another_form_is_refused(engine, folder):
    (folder / "engine.json").write_text(json.dumps(engine))
    with pytest.raises(DeviceError, match=r"engine\.json is not what trtexec exports"):
        read_row(folder, "d")
    with pytest.raises(DeviceError, match=r"engine\.json is not what trtexec exports"):
        read_layers(folder)


def test_runs_without_duration_have_no_throughput(folder):
    (folder / "times.json").write_text(json.dumps([run(0, 2.0) | {"endComputeMs": 0, "endD2hMs": 0}]))
    assert read_row(folder, "d").quantities["throughput_per_s"].how == "not measured"


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DeviceError, match=r"cannot read .*times\.json.*build_engine\.sh writes it"):
        read_row(tmp_path, "d")
    with pytest.raises(DeviceError, match=r"cannot read .*layers\.json"):
        read_layers(tmp_path)


def test_runs_of_the_warm_up_that_older_releases_write_do_not_count(folder):
    after = read_times(folder / "times.json")
    runs = json.loads((folder / "times.json").read_text())
    (folder / "times.json").write_text(json.dumps([*(run(index, 9.0) for index in range(-100, 0)), *runs]))
    older = read_times(folder / "times.json")
    assert older.latency_ms.tolist() == after.latency_ms.tolist()
    assert older.seconds == after.seconds


def test_runs_that_ended_before_the_warm_up_of_the_script_are_all_taken(folder):
    (folder / "times.json").write_text(json.dumps([run(index, 2.0) for index in range(-100, -60)]))
    assert len(read_times(folder / "times.json").latency_ms) == 40
