from __future__ import annotations

import pytest

from compress.core.comparable_latency import is_same_network, latency_before, stage_metrics, teacher_metrics
from compress.core.format_quantity import format_change
from compress.core.record import Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.pipeline.report.tables import chain_table


def drifted(record: RunRecord) -> RunRecord:
    """The same run on a machine that was another 10 ms slower at each of the stages' own sessions."""

    def slower(stage: StageRecord, times: int, before: dict[str, Quantity]) -> StageRecord:
        own = stage.after["latency_ms"]
        after = stage.after | {"latency_ms": own.model_copy(update={"value": (own.value or 0) + 10 * times})}
        gain = Quantity.measured(2.0, "1", "ratio of median latencies, interleaved")
        return stage.model_copy(
            update={"after": after, "before": before, "results": stage.results | {"speedup_vs_before": gain}}
        )

    stages: list[StageRecord] = []
    for number, stage in enumerate(record.stages):
        same = stage.name in ("export", "profile")
        before = stages[-1].after if stages else stage.before
        found = stage.model_copy(update={"after": before, "before": before}) if same else slower(stage, number + 1, before)
        stages.append(found)
    assert record.teacher is not None
    return record.model_copy(update={"stages": tuple(stages), "teacher": slower(record.teacher, 5, {})})


def with_sessions(record: RunRecord) -> RunRecord:
    """The record as it is written today: every latency names its session, which a stage that changes nothing keeps."""

    def named(metrics: dict[str, Quantity]) -> dict[str, Quantity]:
        latency = metrics.get("latency_ms")
        return (
            metrics if latency is None else metrics | {"latency_ms": latency.model_copy(update={"session": f"{latency.value}"})}
        )

    stages = tuple(s.model_copy(update={"before": named(s.before), "after": named(s.after)}) for s in record.stages)
    return record.model_copy(update={"stages": stages})


@pytest.fixture(params=[False, True], ids=["older record", "sessions named"])
def slow(record: RunRecord, request: pytest.FixtureRequest) -> RunRecord:
    return with_sessions(drifted(record)) if request.param else drifted(record)


def test_networks_of_equal_latency_are_told_apart_by_their_session(record: RunRecord) -> None:
    """Equal figures by chance: without the session the pruned network would pass for the artifact."""
    run = with_sessions(drifted(record))
    profile = run.stages[-1]
    twin = profile.after["latency_ms"].model_copy(update={"session": "another"})
    distill = run.stages[0].model_copy(update={"after": run.stages[0].after | {"latency_ms": twin}})
    twins = run.model_copy(update={"stages": (distill, *run.stages[1:])})
    assert stage_metrics(twins, distill)["latency_ms"].session == "another"
    assert stage_metrics(twins, profile)["latency_ms"].value == pytest.approx(0.612)


def by_name(record: RunRecord) -> dict[str, StageRecord]:
    return {stage.name: stage for stage in record.stages}


def test_what_the_session_timed_is_told_by_the_session(slow: RunRecord) -> None:
    stages = by_name(slow)
    values = {name: stage_metrics(slow, stage)["latency_ms"].value for name, stage in stages.items()}
    assert teacher_metrics(slow)["latency_ms"].value == pytest.approx(28.4)
    assert values["prune"] == pytest.approx(2.31)  # the float parent of the artifact: `student`
    assert values["quantize"] == values["export"] == values["profile"] == pytest.approx(0.612)
    assert values["distill"] == pytest.approx(2.31 + 10)


def test_a_latency_of_another_session_says_so(slow: RunRecord) -> None:
    details = {name: stage_metrics(slow, stage)["latency_ms"].detail for name, stage in by_name(slow).items()}
    assert details["distill"].endswith(
        "timed after stage 1 · distill, in a session of its own, minutes apart from the other rows"
    )
    assert not any("minutes apart" in details[name] for name in ("prune", "quantize", "export", "profile"))
    assert any("minutes apart from the other rows" in note for note in chain_table(slow).notes)


def test_changes_are_within_one_session(slow: RunRecord) -> None:
    stages = by_name(slow)

    def moved(name: str) -> str:
        return format_change(latency_before(slow, stages[name]), stage_metrics(slow, stages[name])["latency_ms"])

    assert moved("quantize") == format_change(Quantity.measured(2.31, "ms", ""), Quantity.measured(0.612, "ms", ""))
    assert moved("prune") == "−50.0 %"  # what its own session said, in turns with the network before
    assert moved("export") == "="


def test_nothing_is_compared_that_was_timed_apart(slow: RunRecord) -> None:
    stages = tuple(stage.model_copy(update={"results": {}}) for stage in slow.stages)
    old = slow.model_copy(update={"stages": stages})
    assert latency_before(old, by_name(old)["prune"]) is None
    row = next(row for row in chain_table(old).rows if row[0].text == "2 · prune")
    assert row[-1].change == ""


def test_without_a_profile_on_this_machine_the_stages_speak_for_themselves(slow: RunRecord) -> None:
    stages = tuple(stage.model_copy(update={"benchmark_rows": ()}) for stage in slow.stages)
    bare = slow.model_copy(update={"stages": stages})
    assert stage_metrics(bare, by_name(bare)["prune"]) == by_name(bare)["prune"].after
    assert latency_before(bare, by_name(bare)["quantize"]) is not None


def test_a_profile_of_another_name_for_this_machine_counts(slow: RunRecord) -> None:
    profile = by_name(slow)["profile"]
    rows = tuple(
        row.model_copy(update={"device": "bench", "local": True}) if row.device == "host" else row
        for row in profile.benchmark_rows
    )
    other = slow.model_copy(update={"stages": (*slow.stages[:-1], profile.model_copy(update={"benchmark_rows": rows}))})
    assert stage_metrics(other, by_name(other)["quantize"])["latency_ms"].value == pytest.approx(0.612)


def test_a_network_is_the_same_by_its_session_whatever_it_is_compared_with() -> None:
    latency = Quantity.measured(1.0, "ms").model_copy(update={"session": "a"})
    losses = [{"accuracy_drop": Quantity.measured(loss, "fraction")} for loss in (0.0, 0.1)]
    first, second = ({"latency_ms": latency} | loss for loss in losses)
    assert is_same_network(first, second)
    assert not is_same_network(first, first | {"latency_ms": latency.model_copy(update={"session": "b"})})
    assert not is_same_network(first, losses[0])
    assert is_same_network(losses[0], losses[0])
    assert not is_same_network(*losses)
    assert not is_same_network({}, {})
