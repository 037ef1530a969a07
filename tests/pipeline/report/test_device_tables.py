"""Tables of devices."""

from compress.core.run_record import RunRecord
from compress.pipeline.report.device_tables import COLUMNS, artifact_by_device, device_tables
from tests.pipeline.report.browser.records import overfull
from tests.pipeline.report.test_benchmark_rows import profiled_twice


def test_the_artifact_has_a_column_for_each_device_with_its_change(record: RunRecord) -> None:
    table = device_tables(record)[0]
    assert table.header == ("", "host", "mobile_cpu", "jetson_orin_nano", "desktop_gpu")
    rows = {row[0].text: row[1:] for row in table.rows}
    assert [cell.change for cell in rows["latency p50, back to back"]] == ["÷ 46.4"] * 4
    assert table.remarks == ("Changes are against the teacher on the same device.",)
    assert "power" not in rows
    assert [names for names, _ in table.folded] == ["power"]


def test_tables_of_single_devices_stand_side_by_side(record: RunRecord) -> None:
    shared, *own = device_tables(record)
    assert not shared.beside
    assert [table.title for table in own] == list(artifact_by_device(record))
    assert all(table.beside for table in own)


def test_many_devices_have_several_tables(record: RunRecord) -> None:
    full = overfull(record)
    count = len(artifact_by_device(full))
    shared = [table for table in device_tables(full) if not table.beside]
    assert len(shared) == -(-count // COLUMNS)
    assert [name for table in shared for name in table.header[1:]] == list(artifact_by_device(full))
    assert shared[0].title == f"The artifact on each device, part 1 of {len(shared)}"


def test_a_network_that_a_later_stage_changed_is_in_no_table_of_the_artifact(record: RunRecord) -> None:
    rows = artifact_by_device(profiled_twice(record))
    assert list(rows) == ["host", "mobile_cpu", "jetson_orin_nano", "desktop_gpu"]
    assert all(row.subject != "network before quantize" for each in rows.values() for row in each)
