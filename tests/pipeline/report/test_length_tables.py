"""Tables by sequence length."""

from compress.core.run_record import RunRecord
from compress.pipeline.report.length_tables import length_tables
from compress.pipeline.report.outline import build_outline
from tests.pipeline.report.lengths import with_lengths


def test_each_device_batch_and_network_has_a_table(record: RunRecord) -> None:
    tables = length_tables(with_lengths(record))
    assert [table.title for table in tables][:3] == [
        "teacher on host, batch 1",
        "artifact on host, batch 1",
        "teacher on host, batch 8",
    ]
    assert len(tables) == 6
    artifact = tables[1]
    assert [row[0].text for row in artifact.rows] == ["16", "64", "512"]
    assert artifact.header[1:3] == ("latency p50, back to back", "latency p95")
    assert artifact.rows[0][1].change.startswith("÷ 4")


def test_a_length_that_was_not_measured_is_a_line_with_its_reason(record: RunRecord) -> None:
    teacher = length_tables(with_lengths(record))[0]
    assert [row[0].text for row in teacher.rows] == ["16", "64"]
    assert teacher.folded == (("512", "out of time"),)


def test_the_section_stands_in_reports_of_networks_with_tokens_only(record: RunRecord) -> None:
    titles = [[section.title for section in build_outline(each, ()).sections] for each in (record, with_lengths(record))]
    assert ["Latency by sequence length" in each for each in titles] == [False, True]
    assert length_tables(record) == ()
