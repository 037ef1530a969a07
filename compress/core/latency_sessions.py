"""Which session a latency is from: stages are timed minutes apart, in which a machine may change more than the networks differ.

The last `profile` on this machine timed teacher, student and artifact in turns. Where a stage left one of these, its latency is
the one of that session; elsewhere it stays that of the stage's own, and says so.
"""

from __future__ import annotations

from compress.core.record import BenchmarkRow, Metrics, Quantity, RunRecord, StageRecord

LATENCY, P50 = "latency_ms", "latency_p50_ms"
APART = "timed on its own right after {}: minutes apart from the other rows"


def teacher_metrics(record: RunRecord) -> Metrics:
    """Of the teacher, its latency from the interleaved session where there is one."""
    return _with(record.teacher.after if record.teacher else {}, _timed(record).get("teacher"))


def stage_metrics(record: RunRecord, stage: StageRecord) -> Metrics:
    """Of what a stage left, likewise; of what the session did not time, the stage's own, with a word on that."""
    together = _together(record, stage)
    own = stage.after.get(LATENCY)
    if together is None and own is not None and own.how == "measured" and _timed(record):
        detail = f"{own.detail}; {APART.format(f'stage {stage.index} · {stage.name}')}"
        return _with(stage.after, own.model_copy(update={"detail": detail}))
    return _with(stage.after, together)


def latency_before(record: RunRecord, stage: StageRecord) -> Quantity | None:
    """What a stage's latency in `stage_metrics` may be compared with: nothing that was timed minutes apart.

    Both of the interleaved session; or what the stage's own session, which timed it in turns with the network before, says of
    their ratio. None where neither is known.
    """
    now = stage_metrics(record, stage).get(LATENCY)
    if now is None or stage.after.get(LATENCY) == stage.before.get(LATENCY):
        return now
    before = next((one for one in record.stages if one.index == stage.index - 1), None)
    if _together(record, stage) and before is not None and (timed := _together(record, before)):
        return timed
    return previous_latency(stage, now)


def previous_latency(stage: StageRecord, now: Quantity | None) -> Quantity | None:
    """What the network before takes where this one takes `now`, by the stage's own session of both; None without one."""
    gain = stage.results.get("speedup_vs_before")
    if gain is None or gain.value is None or now is None or now.value is None:
        return None
    return Quantity.measured(now.value * gain.value, now.unit, gain.detail)


def _together(record: RunRecord, stage: StageRecord) -> Quantity | None:
    """The latency of what a stage left, by the interleaved session; None where that did not time it."""
    timed = _timed(record)
    profile = _profile(record)
    if profile is None:
        return None
    floats = [one for one in record.stages if one.form == "torch" and one.index < profile.index]
    if stage.after.get(LATENCY) == profile.after.get(LATENCY):
        return timed.get("artifact")
    if floats and stage.after.get(LATENCY) == floats[-1].after.get(LATENCY):
        return timed.get("student")
    return None


def _profile(record: RunRecord) -> StageRecord | None:
    """The last stage that timed the artifact on this machine."""
    found = [stage for stage in record.stages if any(row.subject == "artifact" and _here(row) for row in stage.benchmark_rows)]
    return found[-1] if found else None


def _timed(record: RunRecord) -> dict[str, Quantity]:
    """Latency by subject, of that stage's first device that is this machine."""
    profile = _profile(record)
    rows = [row for row in profile.benchmark_rows if _here(row)] if profile else []
    found = {row.subject: row.quantities.get(P50) for row in rows if row.device == rows[0].device}
    return {name: each for name, each in found.items() if each is not None and each.how == "measured"}


def _here(row: BenchmarkRow) -> bool:
    return row.local or row.device == "host"  # records older than the field `local`


def _with(card: Metrics, latency: Quantity | None) -> Metrics:
    return card if latency is None else {**card, LATENCY: latency}
