"""Selection of comparable latencies.

Stages are timed minutes apart, and the speed of a machine may change more than the networks differ. The last `profile` on this
machine timed teacher, student and artifact in turns. If a stage produced one of these networks, its latency is from that
session; otherwise it is from the session of the stage, and its detail says so.
"""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import joined
from compress.core.record import BenchmarkRow, Metrics, Quantity, StageRecord
from compress.core.run_record import RunRecord
from compress.core.sentences import render

LATENCY, P50 = "latency_ms", "latency_p50_ms"


def teacher_metrics(record: RunRecord) -> Metrics:
    """Metrics of the teacher, with its latency from the interleaved session if there is one."""
    return _with_latency(record.teacher.after if record.teacher else {}, _interleaved(record).get("teacher"))


def stage_metrics(record: RunRecord, stage: StageRecord) -> Metrics:
    """Metrics after a stage, with its latency from the interleaved session if that timed it, else from the stage's session."""
    interleaved = _interleaved_latency(record, stage)
    own = stage.after.get(LATENCY)
    if interleaved is None and own is not None and own.how == "measured" and _interleaved(record):
        alone = Fact.of("pipeline.timed_alone", stage.name, index=stage.index)
        return _with_latency(stage.after, own.model_copy(update={"detail": joined((own.detail, render(alone)))}))
    return _with_latency(stage.after, interleaved)


def latency_before(record: RunRecord, stage: StageRecord) -> Quantity | None:
    """Latency before a stage that is comparable with the latency in `stage_metrics`, or None.

    Both are from the interleaved session; or the latency before follows from the ratio that the stage's session measured, in
    which both networks were timed in turns.
    """
    now = stage_metrics(record, stage).get(LATENCY)
    if now is None or is_same_network(stage.after, stage.before):
        return now
    before = next((other for other in record.stages if other.index == stage.index - 1), None)
    if _interleaved_latency(record, stage) and before is not None and (latency := _interleaved_latency(record, before)):
        return latency
    return previous_latency(stage, now)


def previous_latency(stage: StageRecord, now: Quantity | None) -> Quantity | None:
    """Latency of the network before, from the latency `now` and the ratio of the session that timed both; or None."""
    speedup = stage.results.get("speedup_vs_before")
    if speedup is None or speedup.value is None or now is None or now.value is None:
        return None
    return Quantity.measured(now.value * speedup.value, now.unit, speedup.detail)


def first_change_after(record: RunRecord, stage: StageRecord) -> StageRecord | None:
    """The first later stage that changes the network after a stage; None if that network is the artifact."""
    later = (other for other in record.stages if other.index > stage.index)
    return next((other for other in later if not is_same_network(stage.after, other.after)), None)


def _interleaved_latency(record: RunRecord, stage: StageRecord) -> Quantity | None:
    """Latency of the network after a stage in the interleaved session; None if the session did not time it."""
    latencies = _interleaved(record)
    profile = _profile(record)
    if profile is None:
        return None
    floats = [other for other in record.stages if other.form == "torch" and other.index < profile.index]
    if is_same_network(stage.after, profile.after):
        return latencies.get("artifact")
    if floats and is_same_network(stage.after, floats[-1].after):
        return latencies.get("student")
    return None


def is_same_network(first: Metrics, second: Metrics) -> bool:
    """Whether two metrics are of the same network: a stage that changes nothing has the same latency and session.

    Older records have no session; there equal latencies with equal details are from the same session. Without latencies the
    network is the same if all quantities that both have are equal.
    """
    latency, other = first.get(LATENCY), second.get(LATENCY)
    if latency is not None and other is not None and latency.session and other.session:
        return latency.session == other.session
    if latency is not None or other is not None:
        return latency == other
    names = first.keys() & second.keys()
    return bool(names) and all(first[name].value == second[name].value for name in names)


def _profile(record: RunRecord) -> StageRecord | None:
    """The last stage that timed the artifact on this machine."""
    local = (
        stage
        for stage in reversed(record.stages)
        if any(r.subject == "artifact" and _is_local(r) for r in stage.benchmark_rows)
    )
    return next(local, None)


def _interleaved(record: RunRecord) -> dict[str, Quantity]:
    """Latency by subject, on the first device of the last profile stage that is this machine."""
    profile = _profile(record)
    rows = [row for row in profile.benchmark_rows if _is_local(row)] if profile else []
    latencies = {row.subject: row.quantities.get(P50) for row in rows if row.device == rows[0].device}
    return {subject: latency for subject, latency in latencies.items() if latency is not None and latency.how == "measured"}


def _is_local(row: BenchmarkRow) -> bool:
    return row.local or row.device == "host"  # records older than the field `local`


def _with_latency(metrics: Metrics, latency: Quantity | None) -> Metrics:
    return metrics if latency is None else {**metrics, LATENCY: latency}
