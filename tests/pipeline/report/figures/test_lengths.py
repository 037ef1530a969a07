"""Pictures of the latency over the sequence length."""

import pytest

from compress.core.language import in_language
from compress.core.run_record import RunRecord
from compress.pipeline.report.figures.lengths import latency_by_length
from tests.pipeline.report.lengths import with_lengths


@pytest.mark.parametrize(("language", "axis"), [("en", "sequence length (tokens)"), ("zh", "序列长度（词元）")])
def test_each_device_has_a_picture_with_a_line_for_each_network(record: RunRecord, language: str, axis: str) -> None:
    with in_language(language):
        host, phone = latency_by_length(with_lengths(record))
    assert (host.name, phone.name) == ("lengths_host", "lengths_mobile_cpu")
    assert host.section == "lengths"
    assert axis in host.svg
    assert host.svg.count("<polyline") == 4  # two lines and their two marks in the legend
    assert "dash" in phone.svg
    assert "dash" not in host.svg
    for length in (16, 64, 512):
        assert f">{length}<" in host.svg


def test_the_words_name_each_value_that_was_measured(record: RunRecord) -> None:
    host = next(latency_by_length(with_lengths(record)))
    assert "teacher at length 16: 4.00 ms (3.60–4.80 ms) ● measured" in host.alternative
    assert "teacher at length 512" not in host.alternative


def test_without_lengths_there_is_no_picture(record: RunRecord) -> None:
    assert list(latency_by_length(record)) == []
