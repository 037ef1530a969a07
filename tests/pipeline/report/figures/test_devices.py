"""The picture of the latency by device."""

from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.devices import latency_by_device


def test_every_device_is_a_group_with_its_limit(record: RunRecord) -> None:
    picture = latency_by_device(record)
    assert picture is not None
    for device in ("host", "mobile_cpu", "jetson_orin_nano", "desktop_gpu"):
        assert f">{device}<" in picture.svg
    assert picture.svg.count('class="limit"') == 2
    assert "host: teacher 28.4 ms, student 2.31 ms, artifact 0.612 ms" in picture.alternative
    assert "artifact 1.16 ms ◐" in picture.alternative


def test_a_network_without_a_latency_says_so(record: RunRecord) -> None:
    last = record.stages[-1]
    missing = {"latency_p50_ms": Quantity.missing("ms", "crashed")}
    rows = (last.benchmark_rows[0].model_copy(update={"quantities": missing}), *last.benchmark_rows[1:])
    picture = latency_by_device(record.model_copy(update={"stages": (last.model_copy(update={"benchmark_rows": rows}),)}))
    assert picture is not None
    assert "teacher not measured" in picture.alternative


def test_without_a_profile_there_is_no_picture(record: RunRecord) -> None:
    assert latency_by_device(record.model_copy(update={"stages": record.stages[:2]})) is None
