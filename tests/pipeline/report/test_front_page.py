"""The first page of a report."""

from typing import Any

import pytest

from compress.core.fact import Fact
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.core.verdict import RESULTS_FROM_WORST
from compress.pipeline.report import front_page
from compress.pipeline.report.outline import NOT_JUDGED, Section, build_outline
from tests.pipeline.report.browser.records import comparison, cut, overfull
from tests.pipeline.report.pages import of_perplexity


def section(record: RunRecord, area: str) -> Section:
    (result,) = (each for each in build_outline(record, ()).front if each.area == area)
    return result


def texts(record: RunRecord, area: str) -> list[list[str]]:
    return [[cell.text for cell in row] for row in section(record, area).tables[0].rows]


def test_limits_are_listed_with_missed_ones_first_and_why(record: RunRecord) -> None:
    rows = section(record, "limits").tables[0].rows
    results = [row[3].tone.replace("-", " ") for row in rows]
    assert results == sorted(results, key=RESULTS_FROM_WORST.index)
    reasons = {row[0].text: row[4].text for row in rows}
    assert reasons["accuracy drop"] == "outside by 0.11 points; the interval reaches across the limit"
    assert reasons["latency on jetson_orin_nano, back to back"] == "the band reaches across the limit; an estimate"
    assert reasons["latency on host, back to back"] == "the whole interval is within"
    assert reasons["power on jetson_orin_nano"].startswith("not measured: no sensor")


@pytest.mark.parametrize("smoke", [True, False])
def test_a_run_without_a_verdict_says_so(record: RunRecord, smoke: bool) -> None:
    update: dict[str, Any] = {"smoke": smoke, "verdict": None} | ({} if smoke else {"recipe": {}})
    limits = section(record.model_copy(update=update), "limits")
    assert limits.tables == ()
    assert (limits.paragraphs == (NOT_JUDGED,)) is smoke


def test_networks_are_teacher_student_and_artifact_with_what_was_measured(record: RunRecord) -> None:
    table = section(record, "networks").tables[0]
    assert table.header == ("", "test accuracy", "size", "latency on the host", "peak memory")
    assert [row[0].text for row in table.rows][-2:] == ["artifact", "artifact against teacher"]
    assert [cell.text for cell in table.rows[-1]] == ["artifact against teacher", "−1.11 points", "÷ 154", "÷ 46.4", "÷ 5.69"]


@pytest.mark.parametrize(
    ("low", "high", "words"), [(-0.002, 0.024, "no difference shown"), (0.004, 0.024, "worse"), (-0.02, -0.001, "better")]
)
def test_a_change_of_the_metric_is_judged_by_its_interval(record: RunRecord, low: float, high: float, words: str) -> None:
    last = record.stages[-1]
    loss = Quantity.measured((low + high) / 2, "fraction", "paired", interval=(low, high), runs=540)
    changed = last.model_copy(update={"after": last.after | {"accuracy_drop": loss}})
    (sentence,) = section(record.model_copy(update={"stages": (*record.stages[:-1], changed)}), "networks").paragraphs
    assert f"measured: {words}" in sentence
    assert f"{'−' if low + high > 0 else '+'}{abs(low + high) * 50:.2f} points" in sentence


def test_a_change_where_lower_is_better_has_its_own_sign(record: RunRecord) -> None:
    (sentence,) = section(of_perplexity(record), "networks").paragraphs
    assert sentence.startswith("Perplexity against the teacher, on the same samples: +0.0111 (−0.0020 to 0.0240)")


def test_devices_show_the_latency_and_its_limit(record: RunRecord) -> None:
    rows = {row[0]: row[1:] for row in texts(record, "devices")}
    assert list(rows) == ["host", "mobile_cpu", "jetson_orin_nano", "desktop_gpu"]
    assert rows["host"][:2] == ["0.612 ms", "≤ 1 ms: met"]
    assert rows["mobile_cpu"][:2] == ["1.16 ms", "no limit"]
    assert rows["jetson_orin_nano"][1] == "≤ 0.4 ms: met, not shown"
    (folded,) = section(record, "devices").tables[0].folded
    assert folded[0] == "power"


def test_older_records_name_the_device_in_words(record: RunRecord) -> None:
    assert record.verdict is not None
    checks = tuple(
        check.model_copy(update={"limit": f"latency on {check.device}, back to back", "device": "", "name": ""})
        if check.label == "latency"
        else check
        for check in record.verdict.checks
    )
    older = record.model_copy(update={"verdict": record.verdict.model_copy(update={"checks": checks})})
    assert texts(older, "devices")[0][2] == "≤ 1 ms: met"


def test_lists_are_cut_with_the_number_of_what_follows(record: RunRecord) -> None:
    full = overfull(record)
    limits, devices, points = (section(full, area) for area in ("limits", "devices", "points"))
    assert len(limits.tables[0].rows) == front_page.LIMITS
    assert limits.tables[0].remarks == ("10 more limits are in the section Verdict",)
    assert len(devices.tables[0].rows) == front_page.DEVICES
    assert len(points.items) == front_page.POINTS + 1
    assert points.items[-1] == "6 more in the section Points for review"
    assert sum(map(len, points.items[:-1])) <= front_page.POINTS_CHARACTERS


def test_fewer_points_have_more_room(record: RunRecord) -> None:
    warning = Fact.of("text", text="x" * 400)
    stage = record.stages[0].model_copy(update={"warnings": (warning,)})
    (point,) = section(record.model_copy(update={"stages": (stage, *record.stages[1:])}), "points").items
    assert "x" * 400 in point


def test_classes_that_lost_most_are_named(record: RunRecord) -> None:
    last = record.stages[-1].model_copy(update={"class_comparison": comparison(("cat", "dog", "owl"))})
    sentences = section(record.model_copy(update={"stages": (*record.stages[:-1], last)}), "classes").paragraphs
    assert sentences[0].startswith("Largest losses of recall: owl: 95.00 % → 85.00 % (")
    assert "exact McNemar test" in sentences[2]
    assert section(record, "classes").paragraphs[0].startswith("Not recorded")


def test_a_run_that_was_cut_short_names_its_missing_stages(record: RunRecord) -> None:
    points = section(cut(record), "points").items
    assert [point.partition(":")[0] for point in points] == ["4 · export", "5 · profile"]
    details = [each.title for each in build_outline(cut(record), ()).sections if each.level == 3]
    assert details[-2:] == ["4 · export: not run", "5 · profile: not run"]


def test_rebuild_names_command_seed_versions_and_the_artifact(record: RunRecord) -> None:
    files = {"artifacts/tv/model.onnx": "b" * 64, "artifacts/host/model.onnx": "a" * 64, "artifacts/host/infer.py": "c" * 64}
    export = record.stages[3].model_copy(update={"files": files})
    changed = record.model_copy(
        update={
            "stages": (*record.stages[:3], export, record.stages[4]),
            "recipe": {**record.recipe, "seed": 7},
            "environment": {"compress": "0.1.0", "torch": "2.14", "processor": "Xeon"},
        }
    )
    rows = dict(texts(changed, "rebuild"))
    assert rows["command"].startswith("compress pipeline recipe.yaml")
    assert "seed 7" in rows["inputs"]
    assert rows["made with"] == "compress 0.1.0, torch 2.14; Xeon"
    assert rows["artifact"] == f"artifacts/host/model.onnx, SHA-256 {'a' * 16}…"


def writing(record: RunRecord) -> RunRecord:
    """The record with measured speeds of prompts and tokens on the host."""

    def quantity(value: float, unit: str) -> dict[str, object]:
        return Quantity.measured(value, unit, "median, this machine", interval=(0.9 * value, 1.1 * value), runs=9).model_dump()

    rows = tuple(
        {
            "subject": subject, "device": "host", "context": context,
            "time_to_first_token_ms": quantity(factor * context / 16, "ms"),
            "decode_tokens_per_s": quantity(1000 / factor, "1/s"),
        }
        for context in (64, 128, 512)
        for subject, factor in (("teacher", 4.0), ("student", 2.0), ("artifact", 1.0))
    )  # fmt: skip
    stages = [
        stage.model_copy(update={"tables": {**stage.tables, "generation": rows}}) if stage.benchmark_rows else stage
        for stage in record.stages
    ]
    return record.model_copy(update={"stages": tuple(stages)})


def test_a_network_that_writes_shows_its_first_token_and_its_tokens_per_second(record: RunRecord) -> None:
    written = writing(record)
    table = section(written, "networks").tables[0]
    assert "latency on the host" not in table.header
    first, speed = (table.header.index(name) for name in ("time to first token", "decode, tokens per second"))
    artifact = next(row for row in table.rows if row[0].text == "artifact")
    assert artifact[first].text.startswith("8.00 ms")  # of the prompt of 128 tokens
    assert artifact[speed].text.startswith("1,000")
    assert [table.rows[-1][place].text for place in (first, speed)] == ["÷ 4.00", "× 4.00"]
    devices = section(written, "devices").tables[0]
    assert devices.header[1:4] == ("time to first token", "decode, tokens per second", "one run over a whole text, p50")
    rows = {row[0].text: row for row in devices.rows}
    assert rows["host"][1].text.startswith("8.00 ms")
    assert any("prompt of 128 tokens" in sentence for sentence in devices.notes)
