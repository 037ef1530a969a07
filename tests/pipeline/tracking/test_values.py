from compress.core.record import Curve
from compress.core.run_record import RunRecord
from compress.pipeline.tracking.values import Point, curve_points, final_values, parameters, stage_label


def test_parameters_are_all_values_by_path() -> None:
    recipe = {"seed": 0, "stages": [{"prune": {"target": {"macs": 0.5}}}], "name": "a", "mean": [0.1, None], "deep": {}}
    assert parameters(recipe) == {
        "seed": "0", "stages.0.prune.target.macs": "0.5", "name": "a", "mean.0": "0.1", "mean.1": "null",
    }  # fmt: skip


def test_points_are_those_of_the_curves(example: RunRecord) -> None:
    distill = example.stages[0]
    points = list(curve_points(distill))
    for name, curve in distill.curves.items():
        assert [(p.step, p.value) for p in points if p.name == name] == list(zip(map(int, curve.x), curve.y, strict=True))
    curve = Curve(x_label="kept", y_label="a", x=(0.5, 0.75, 1.0), y=(1.0, None, 3.0))
    stage = distill.model_copy(update={"curves": {"a": curve}})
    assert list(curve_points(stage)) == [Point("a", 0, 1.0), Point("a", 2, 3.0)]
    assert stage_label(distill) == "01-distill"


def test_final_values_have_interval_ends_and_mark_estimates(example: RunRecord) -> None:
    values = final_values(example)
    accuracy = example.stages[-1].after["accuracy"]
    assert (values["accuracy"], values["accuracy_low"], values["accuracy_high"]) == (
        accuracy.value,
        accuracy.low,
        accuracy.high,
    )
    row = next(row for row in example.stages[-1].benchmark_rows if (row.device, row.subject) == ("host", "artifact"))
    assert values["device/host/latency_p50_ms"] == row.quantities["latency_p50_ms"].value
    assert {"device/host/latency_p50_ms_low", "device/mobile_cpu/latency_p50_ms_estimated"} <= values.keys()
    assert "device/mobile_cpu/latency_p50_ms" not in values
    assert not any("energy" in name for name in values)  # not measured in this run


def test_files_of_one_device_are_kept_apart(example: RunRecord) -> None:
    profile = example.stages[-1]
    rows = tuple(row.model_copy(update={"device": "host"}) for row in profile.benchmark_rows if row.subject == "artifact")
    stages = (*example.stages[:-1], profile.model_copy(update={"benchmark_rows": rows}))
    names = final_values(example.model_copy(update={"stages": stages}))
    assert {"device/host/model.onnx/latency_p50_ms", "device/host/model.tensorrt.onnx/latency_p50_ms_estimated"} <= names.keys()
