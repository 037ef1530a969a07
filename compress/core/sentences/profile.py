"""Sentences of profiling."""

from __future__ import annotations

from compress.core.fact import Fact
from compress.core.language import gettext
from compress.core.sentences.table import Sentence, Sentences


def _listed(fact: Fact, name: str, separator: str = ", ") -> str:
    values = fact.values[name]
    return separator.join(map(str, values)) if isinstance(values, tuple) else str(values)


def _number(fact: Fact, name: str) -> float:
    value = fact.values[name]
    assert isinstance(value, (int, float))  # noqa: S101  # the code's values are numbers
    return float(value)


def _numbers(fact: Fact, name: str) -> tuple[float, ...]:
    values = fact.values[name]
    return tuple(float(value) for value in values if isinstance(value, (int, float))) if isinstance(values, tuple) else ()


def _measured_on(fact: Fact) -> str:
    settings = _listed(fact, "settings")
    profile = gettext(" for the profile {profile}", profile=fact.values["profile"]) if fact.values["profile"] else ""
    how = gettext("batch {batch}; fixed inputs; files timed in turns", batch=fact.values["batch"])
    return gettext(
        "measured on {subject}{profile}: {settings}; {how}", subject=fact.subject, profile=profile, settings=settings, how=how
    )


def _few_runs(fact: Fact) -> str:
    files, runs = fact.values["files"], _numbers(fact, "runs")
    assert isinstance(files, tuple)  # noqa: S101  # one entry a file
    listed = ", ".join(f"{name} ({count:.0f})" for name, count in zip(files, runs, strict=True))
    return gettext("contract not met: fewer than {min_runs} runs: {listed}", min_runs=fact.values["min_runs"], listed=listed)


def _virtual(fact: Fact) -> str:
    return gettext("a virtual machine; ") if fact.values["virtual"] else ""


def _remote_clocks(fact: Fact) -> str:
    values = fact.values
    where = gettext("{system}, {architecture}, {processors} processors, Python {python}", **values)
    required = gettext("; the contract requires {power_mode}", power_mode=values["power_mode"]) if values["power_mode"] else ""
    if not values["before"]:
        return gettext(
            "contract not met: clocks and power mode cannot be read on {subject} ({where}){required}",
            subject=fact.subject,
            where=where,
            required=required,
        )
    readings = gettext("before {before}; after {after}", before=_listed(fact, "before"), after=_listed(fact, "after"))
    return gettext(
        "clocks not locked by this measurement: {readings} ({where}){required}",
        readings=readings,
        where=where,
        required=required,
    )


def _device(fact: Fact) -> str:
    return f"{fact.values['device']}: " if "device" in fact.values else ""


def _runtime_disagrees(fact: Fact) -> str:
    top1, samples = fact.values["top1"], fact.values["samples"]
    same = "" if top1 is None else gettext(", the same class for {top1:.1%} of {samples} samples", top1=top1, samples=samples)
    return gettext(
        "{device}runtime {subject} was not chosen: "
        "outputs differ by up to {difference:.2g} of the largest{same}; required are at most "
        "{largest_difference:g} and at least {least_agreement:.0%}",
        subject=fact.subject,
        same=same,
        **{**fact.values, "device": _device(fact)},
    )


def _runtime_loses_metric(fact: Fact) -> str:
    value = fact.values["value"]
    found = gettext("not measured") if value is None else f"{value:.4g}"
    return gettext(
        "{device}runtime {subject} was not chosen: {detail} is {found}, and {reference:.4g} in {default}",
        subject=fact.subject,
        found=found,
        **{**fact.values, "device": _device(fact)},
    )


def _runtime_chosen(fact: Fact) -> str:
    runtimes = fact.values["runtimes"]
    assert isinstance(runtimes, tuple)  # noqa: S101  # one entry a runtime
    times = ", ".join(f"{name} {value:.3g} ms" for name, value in zip(runtimes, _numbers(fact, "latency_ms"), strict=True))
    why = (
        gettext("no runtime with equal outputs is significantly faster")
        if fact.values["first"]
        else gettext("the fastest with equal outputs")
    )
    file = gettext(" on {file}", file=fact.values["file"]) if fact.values["file"] else ""
    return gettext(
        "{device}measured in {subject}{file}, {why}: {times}",
        device=_device(fact),
        subject=fact.subject,
        file=file,
        why=why,
        times=times,
    )


def _layers_total(fact: Fact) -> str:
    summed, plain, profiled = (_number(fact, name) for name in ("summed_ms", "plain_ms", "profiled_ms"))
    overhead_us = _number(fact, "overhead_us")
    overhead = gettext("; {overhead_us:.1f} µs of profiler overhead were subtracted from each layer", overhead_us=overhead_us)
    return (
        gettext(
            "{subject}: layers sum to {summed:.3f} ms, {share:.0%} of the {plain:.3f} ms that an inference "
            "takes without the profiler; with it, an inference takes {profiled:.3f} ms ({overhead:+.0%})",
            subject=fact.subject,
            summed=summed,
            share=summed / plain,
            plain=plain,
            profiled=profiled,
            overhead=profiled / plain - 1,
        )
    ) + overhead * (overhead_us > 0)


def _soak(template: str) -> Sentence:
    """A sentence of a soak test, after the name of the file if there are several."""

    def sentence(fact: Fact) -> str:
        file = f"{fact.subject}: " if fact.subject else ""
        return gettext("{file}soak: ", file=file) + gettext(template, **fact.values)

    return sentence


def _throttled(fact: Fact) -> str:
    values = fact.values
    count = (
        gettext(", {throttles} times by the counters of the processors", throttles=values["throttles"])
        if values["throttles"]
        else ""
    )
    clock = ""
    if values["first_mhz"] is not None:
        clock = gettext("; the clock fell from {first_mhz:.0f} to {lowest_mhz:.0f} MHz", **values)
    return gettext(
        "{file}soak: the machine throttled{count}{clock}",
        file=f"{fact.subject}: " if fact.subject else "",
        count=count,
        clock=clock,
    )


def _throttling_from_latency(fact: Fact) -> str:
    file = f"{fact.subject}: " if fact.subject else ""
    return gettext(
        "{file}soak: throttling can only be detected by the latency: {listed}", file=file, listed=_listed(fact, "reasons", "; ")
    )


_DRIFT = "{drift:+.1%} ({low:+.1%} to {high:+.1%}) over {seconds:.0f} s"


def _arrival(fact: Fact) -> str:
    pattern = {
        "back_to_back": gettext("back to back"),
        "periodic": gettext("{number:g} times per second", number=_number(fact, "arrivals_per_s")),
        "cold": gettext("with other data in the caches"),
    }[str(fact.values["arrival"])]
    return gettext(
        "the first latency, and limits of the latency on {subject}, are for inputs that arrive {pattern}",
        subject=fact.subject,
        pattern=pattern,
    )


SENTENCES: Sentences = {
    "profile.no_generation": "its attention layers are not known, so prompts and further tokens are not measured apart",
    "profile.generation_failed": "{error}",
    "profile.fused": (
        "{attentions} attentions and {gelus} GELUs are fused for ONNX Runtime: {speedups}; the outputs differ by "
        "{difference:.1g} of the largest"
    ),
    "profile.fusion_failed": "attention is not fused: {error}",
    "profile.fusion_not_faster": (
        "{attentions} attentions and {gelus} GELUs stay as exported, because fusing them is not faster here: {speedups}"
    ),
    "profile.arrival": _arrival,
    "profile.clocks_not_locked": lambda fact: gettext(
        "{virtual}clocks not locked; frequency governor {governor!r}", virtual=_virtual(fact), governor=fact.values["governor"]
    ),
    "profile.clocks_unreadable": lambda fact: gettext(
        "contract not met: {virtual}clocks and power mode cannot be read or locked by this process", virtual=_virtual(fact)
    ),
    "profile.contract_few_runs": _few_runs,
    "profile.contract_not_idle": (
        "contract not met: the machine was not idle, and the measurement had {processor_share:.0%} of a processor; "
        "high percentiles and intervals include the load of other processes"
    ),
    "profile.contract_short": "contract not met: {seconds:g} s per file instead of {contract_seconds:g} s",
    "profile.contract_unsteady": lambda fact: gettext(
        "contract not met: the latency was still falling at the end of warm-up: {listed}", listed=_listed(fact, "files")
    ),
    "profile.estimate_failed": "{error}",
    "profile.idle_states": lambda fact: gettext(
        "idle states of the processor, with exit latency: {listed}", listed=_listed(fact, "states")
    ),
    "profile.idle_states_unreadable": "idle states of the processor cannot be read",
    "profile.layers_failed": "{error}",
    "profile.layers_other_runtime": "the artifact runs in {runtime}, and layers are timed by the profiler of ONNX Runtime",
    "profile.layers_total": _layers_total,
    "profile.measured_on": _measured_on,
    "profile.not_faster": (
        "not faster: the profiled network takes {artifact_ms:.3f} ms and the {subject} {latency_ms:.3f} ms on this machine, a "
        "speed-up of {speedup:.2f} ({low:.2f} to {high:.2f})"
    ),
    "profile.other_hardware": (
        "measured on other hardware: the profile {subject} describes {title}, and {hardware} was measured; limits of the "
        "budget for {subject} are not passed"
    ),
    "profile.postprocessing_failed": "{error}",
    "profile.postprocessing_not_local": "post-processing is timed on the machine that compress runs on; run it on that device",
    "profile.remote_clocks": _remote_clocks,
    "profile.runtime_choice_not_remote": "runtimes are compared on this machine only, not over SSH",
    "profile.runtime_chosen": _runtime_chosen,
    "profile.runtime_disagrees": _runtime_disagrees,
    "profile.runtime_failed": "{error}",
    "profile.runtime_loses_metric": _runtime_loses_metric,
    "profile.soak_drift_unknown": _soak("drift is unknown: {reason}"),
    "profile.soak_drifts_upwards": _soak(f"the latency drifts upwards, {_DRIFT}"),
    "profile.soak_got_faster": _soak(
        f"the latency fell, {_DRIFT}: the warm-up was too short, or another process was running at the start"
    ),
    "profile.soak_leak": _soak("memory leak: resident memory grows by {megabytes:.1f} MB over {seconds:.0f} s"),
    "profile.soak_leak_unknown": _soak("memory leaks are unknown: {reason}"),
    "profile.soak_no_drift": _soak(f"no significant drift of the latency, {_DRIFT}"),
    "profile.soak_no_leak": _soak("no memory leak: resident memory changed by {megabytes:+.2f} MB over {seconds:.0f} s"),
    "profile.soak_not_throttled": _soak("no sign of throttling in clock or counters"),
    "profile.soak_steady": _soak(f"the latency is steady, {_DRIFT}"),
    "profile.soak_throttled": _throttled,
    "profile.soak_throttling_from_latency": _throttling_from_latency,
    "profile.speedup_unknown": "the speed-up of the profiled network over the {subject} is unknown: {reason}",
    "profile.sweep_failed": "{error}",
    "profile.sweep_fixed_batch": "the batch of {subject} is fixed at {fixed_batch}",
    "profile.sweep_size_failed": "{error}",
    "profile.lengths_not_local": "lengths are measured only on this machine; run compress on that device to measure them",
    "profile.no_length_axis": (
        "it has no free axis of tokens, or several free axes besides the batch; --shape NAME:1x16..512 sweeps one axis"
    ),
    "profile.sweep_not_local": (
        "sweeps of batch and threads run only on this machine; run compress on that device to sweep it"
    ),
}
SUBJECTS: Sentences = {
    "profile.generation_failed": "speed of generation on {subject}",
    "profile.estimate_failed": "estimate for {subject}",
    "profile.layers_failed": "time by layer",
    "profile.layers_other_runtime": "time by layer",
    "profile.postprocessing_failed": "time of post-processing on {subject}",
    "profile.postprocessing_not_local": "time of post-processing on {subject}",
    "profile.runtime_choice_not_remote": "choice of runtimes on {subject}",
    "profile.runtime_failed": lambda fact: (
        gettext("runtime {subject}", subject=fact.subject)
        + (gettext(" for {device}", device=fact.values["device"]) if "device" in fact.values else "")
    ),
    "profile.sweep_failed": "sweep at batch {batch}",
    "profile.sweep_fixed_batch": "sweep at batch {batch}",
    "profile.lengths_not_local": "sequence lengths on {subject}",
    "profile.no_length_axis": "sequence lengths of {subject}",
    "profile.sweep_not_local": "sweep on {subject}",
    "profile.sweep_size_failed": "{subject} with {axis} {size}",
}
