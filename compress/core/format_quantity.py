"""Display of numbers: 0.52 MB, 61.3 M MAC, 97.41 %, and changes between two values.

Imports little: the budget, the command line and the report use it.
"""

from __future__ import annotations

import math
import re

from compress.core.language import MINUS, gettext
from compress.core.record import How, Metric, Quantity

PROVENANCE_MARKS: dict[How, str] = {"measured": "●", "estimated": "◐", "not measured": "○"}
"""Sign beside every number of a report, by provenance."""

HOW_WORDS: dict[How, str] = {"measured": "measured", "estimated": "estimated", "not measured": "not measured"}

METRIC_LABELS = {
    "{}": "test {}",
    "{}_validation": "validation {}",
    "{}_drop": "{} drop",
    "{}_rise": "{} rise",
    "control_{}": "test {} of the control (student trained alone)",
    "control_{}_validation": "validation {} of the control (student trained alone)",
    "{}_over_control": "gain of the test {} over the control",
    "permuted_{}": "test {} of the outputs assigned to other samples",
    "{}_over_permuted": "gain of the test {} over the outputs assigned to other samples",
    "{}_given": "validation {} of the input network",
    "{}_replaced": "validation {} after the replacements",
    "{}_recovered": "validation {} after recovery",
    "{}_lost": "validation {} lost",
}
"""Quantities of the deciding metric: pattern of the name → pattern of the label."""

DIFFERENCES = ("{}_drop", "{}_rise", "{}_lost", "{}_over_control", "{}_over_permuted")
"""Names that are differences: fractions are shown in percentage points, to distinguish them from relative changes."""

LABELS = {
    "size_bytes": "size",
    "size_compressed_bytes": "size, compressed",
    "weights_bytes": "weights alone",
    "parameters": "parameters",
    "macs": "MACs",
    "latency_ms": "latency on the host",
    "latency_p50_ms": "latency p50, back to back",
    "latency_mean_ms": "latency, mean, back to back",
    "latency_periodic_ms": "latency p50, periodic inputs",
    "latency_cold_ms": "latency p50, cold caches",
    "latency_ratio": "latency against the first network",
    "latency_p90_ms": "latency p90",
    "latency_p95_ms": "latency p95",
    "latency_p99_ms": "latency p99",
    "throughput_per_s": "throughput",
    "tokens_per_s": "tokens per second",
    "real_time_factor": "real-time factor",
    "decode_tokens_per_s": "decode, tokens per second",
    "prefill_tokens_per_s": "prefill, tokens per second",
    "time_to_first_token_ms": "time to first token",
    "request_ms": "time of a request",
    "token_p50_ms": "time per token p50",
    "token_p95_ms": "time per token p95",
    "key_value_bytes": "keys and values",
    "memory_bytes": "peak memory",
    "memory_model_bytes": "peak memory of the model alone",
    "memory_first_bytes": "memory after the first run",
    "memory_steady_bytes": "memory when steady",
    "memory_arena_bytes": "memory of the arena of the runtime",
    "memory_gpu_bytes": "peak memory on the GPU",
    "load_ms": "time to load",
    "soak_latency_drift": "latency drift in the soak test",
    "soak_memory_growth": "growth of resident memory in the soak test",
    "soak_outliers": "outliers in the soak test",
    "soak_latency_max_ms": "slowest run in the soak test",
    "soak_clock_lowest": "lowest clock in the soak test",
    "soak_temperature_highest": "highest temperature in the soak test",
    "soak_throttles": "throttling events in the soak test",
    "latency_first_ms": "latency of the first run",
    "power_w": "power",
    "idle_w": "power at idle",
    "energy_j": "energy per sample",
}

RESULT_LABELS = {
    "ap50": "AP50",
    "agreement": "agreement with the input network",
    "agreement_with_trained": "agreement with the trained network",
    "best_epoch": "best epoch",
    "rounds": "rounds",
    "round_bytes": "bytes of a round",
    "round_bytes_dense": "bytes of a round without compression",
    "round_bytes_share": "bytes of a round against those without compression",
    "bleu": "BLEU",
    "bleu_drop": "BLEU drop",
    "cer": "character error rate",
    "cer_rise": "rise of the character error rate",
    "cider_d": "CIDEr-D",
    "cider_d_drop": "CIDEr-D drop",
    "changed_tokens": "changed greedy tokens",
    "exact_match": "exact match",
    "first_changed_token": "tokens before the first changed one",
    "exact_match_drop": "exact match drop",
    "exact_match_share": "exact match as a share of the prompted network's",
    "held_out_exact_match": "exact match in held-out templates",
    "held_out_rouge_l": "ROUGE-L in held-out templates",
    "prompted_bleu": "BLEU of the prompted network",
    "prompted_exact_match": "exact match of the prompted network",
    "prompted_rouge_l": "ROUGE-L of the prompted network",
    "prompts_kept": "prompts with a text",
    "texts_generated": "texts that were generated",
    "texts_kept": "texts that were kept",
    "first_divergence": "tokens before the first different one",
    "generated_tokens": "tokens per written text",
    "greedy_agreement": "greedy agreement",
    "identical_texts": "identical texts",
    "reward": "reward of the texts in training",
    "rouge_l": "ROUGE-L",
    "rouge_l_drop": "ROUGE-L drop",
    "texts_written": "texts that the student wrote",
    "tokens_per_text": "tokens per text",
    "texts_ended": "texts that ended by themselves",
    "writing_s": "time of writing texts",
    "own_text_divergence_before": "divergence on own texts, before",
    "own_text_divergence_after": "divergence on own texts, after",
    "compressed_bytes": "size, compressed",
    "compressed_bytes_before": "size before, compressed",
    "cosine": "cosine",
    "drop_validation": "validation loss of the metric",
    "epochs": "epochs",
    "f1": "F1",
    "float_parent_ms": "time of the float network",
    "images": "images",
    "iou": "IoU",
    "macs_ratio": "reduction of MACs",
    "max_abs": "largest error",
    "mean_abs": "mean error",
    "parameters_ratio": "reduction of parameters",
    "parity_cosine": "parity, cosine",
    "parity_max_abs": "parity, largest error",
    "parity_mean_abs": "parity, mean error",
    "parity_top1": "parity, equal top class",
    "pruning_speedup": "speed-up by pruning",
    "quantized_in_conversions_ms": "time of conversions",
    "quantized_in_float_ms": "time in float",
    "quantized_in_int8_ms": "time in int8",
    "quantized_ms": "time of the quantized network",
    "size_ratio": "reduction of size",
    "size_ratio_vs_student": "reduction of size against the student",
    "size_ratio_vs_teacher": "reduction of size against the teacher",
    "sparsity": "sparsity",
    "speedup_efficiency": "speed-up as a share of the reduction of MACs",
    "speedup_vs_before": "speed-up against the stage before",
    "speedup_vs_student": "speed-up against the student",
    "speedup_vs_student_cold": "speed-up against the student, cold caches",
    "speedup_vs_student_periodic": "speed-up against the student, periodic inputs",
    "speedup_vs_teacher": "speed-up against the teacher",
    "speedup_vs_teacher_cold": "speed-up against the teacher, cold caches",
    "speedup_vs_teacher_periodic": "speed-up against the teacher, periodic inputs",
    "sqnr_db": "SQNR of the outputs",
    "sqnr_worst_layer_db": "SQNR of the worst layer",
    "substitution_speedup": "speed-up by substitution",
    "teacher_s": "time of the teacher",
}
"""Quantities of single stages."""

TEXT_METRICS = ("exact_match", "rouge_l", "bleu", "cer", "cider_d")
"""Metrics of written texts, whose differences are among the results of a stage."""
_SMALLEST = 4
"""Most decimals of a change."""
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity_labels(metric: Metric) -> dict[str, str]:
    """Label of each quantity with its own label, by name, in the order of tables."""
    label = gettext(metric.label)
    own = {name.format(metric.name): gettext(template).format(label) for name, template in METRIC_LABELS.items()}
    return own | {name: gettext(text) for name, text in LABELS.items()}


def is_difference(name: str, metric: Metric) -> bool:
    """Whether a quantity is a difference of the deciding metric, or of a metric of written texts."""
    return name in (template.format(each) for template in DIFFERENCES for each in (metric.name, *TEXT_METRICS))


def quantity_label(name: str, metric: Metric | None = None) -> str:
    """Label of a quantity; with `metric`, also of quantities of the deciding metric."""
    label = quantity_labels(metric).get(name) if metric else gettext(LABELS.get(name, ""))
    label = label or gettext(RESULT_LABELS.get(name, ""))
    return label or re.sub(r"_(bytes|ms|w|j|db)$", "", name).replace("_", " ")


def _decimals(value: float, digits: int) -> int:
    """Number of decimals for `digits` significant digits; 0 for large numbers."""
    if value == 0:
        return 0
    return min(12, max(0, digits - 1 - math.floor(math.log10(abs(value)))))


def _scaled(unit: str, largest: float) -> tuple[float, str, int | None]:
    """Factor, display unit and, for some units, a fixed number of decimals."""
    size = abs(largest)
    if unit in ("fraction", "points"):
        return 100.0, "%" if unit == "fraction" else gettext("points"), 2
    if unit == "bytes":
        factor, prefix = next(((f, p) for f, p in ((1e9, "G"), (1e5, "M"), (1e3, "k")) if size >= f), (1.0, ""))
        return (1e-6 if prefix == "M" else 1 / factor), f"{prefix}B", None if prefix else 0
    if unit in ("MAC", "1"):
        least = 1e3 if unit == "MAC" else 1e4
        factor, prefix = next(((f, p) for f, p in _PREFIXES if size >= max(f, least)), (1.0, ""))
        whole = not prefix and float(largest).is_integer()
        return 1 / factor, f"{prefix} MAC".strip() if unit == "MAC" else prefix, 0 if whole else None
    return 1.0, {"1/s": "/s"}.get(unit, unit), None


def _format_number(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "" if float(text.replace(",", "")) == 0 else MINUS)


def format_value(value: float, unit: str, *, exact: bool = False) -> str:
    """A value with its unit.

    Args:
        value: In `unit`.
        unit: As in `Quantity`; or `points`, for a fraction that is a difference.
        exact: Write all digits, as for a limit in a recipe.
    """
    factor, shown, decimals = _scaled(unit, value)
    scaled = value * factor
    if exact:
        text = f"{scaled:.10g}".replace("-", MINUS)
    else:
        text = _format_number(scaled, _decimals(scaled, 3) if decimals is None else decimals)
    return f"{text} {gettext('point') if text == '1' and unit == 'points' else shown}".strip()


def difference_unit(unit: str) -> str:
    """Unit to show a difference of two values in: points for fractions, so that nobody takes them for relative."""
    return "points" if unit == "fraction" else unit


def display_unit(name: str, quantity: Quantity, metric: Metric | None = None) -> str:
    """The display unit of a quantity: its own, or points for a difference of fractions."""
    return difference_unit(quantity.unit) if metric is not None and is_difference(name, metric) else quantity.unit


def format_quantity(quantity: Quantity, unit: str | None = None) -> str:
    """The value with its unit, or `not measured`."""
    return gettext("not measured") if quantity.value is None else format_value(quantity.value, unit or quantity.unit)


def format_interval(quantity: Quantity, unit: str | None = None) -> str:
    """The interval or band, such as `0.61–0.63 ms`, with enough decimals to distinguish its ends; empty without one.

    Ends are rounded outwards, to at least two significant digits, so that the displayed interval contains the displayed value.
    """
    low, high = quantity.low, quantity.high
    if low is None or high is None:
        return ""
    factor, shown, fixed = _scaled(unit or quantity.unit, max(abs(low), abs(high)))
    ends = (low * factor, high * factor)
    decimals = fixed
    if decimals is None:
        least = _decimals(max(map(abs, ends)), 3)
        decimals = min(least + 2, max(least, _decimals(ends[1] - ends[0], 1)))
    lower_decimals = max(decimals, _decimals(ends[0], 2)) if fixed is None else decimals
    lower, upper = _round_down(ends[0], lower_decimals), -_round_down(-ends[1], decimals)
    if quantity.value is not None:  # the value as `format_value` shows it
        value_factor, _, value_decimals = _scaled(unit or quantity.unit, quantity.value)
        scaled = quantity.value * value_factor
        shown_value = round(scaled, _decimals(scaled, 3) if value_decimals is None else value_decimals) * factor / value_factor
        lower, upper = min(lower, shown_value), max(upper, shown_value)
    first, second = _format_number(lower, lower_decimals), _format_number(upper, decimals)
    dash = gettext(" to ") if MINUS in first + second else "–"
    return f"{first}{dash}{second} {shown}".strip()


def _round_down(value: float, decimals: int) -> float:
    """The largest number with this many decimals that is not above the value, up to the last bit of the value."""
    scaled = value * 10.0**decimals
    return math.floor(scaled + 1e-9 * max(1.0, abs(scaled))) / 10.0**decimals


def how_words(how: How) -> str:
    """The words of a provenance."""
    return gettext(HOW_WORDS[how])


def format_provenance(quantity: Quantity) -> str:
    """Sign and words of the provenance."""
    return f"{PROVENANCE_MARKS[quantity.how]} {how_words(quantity.how)}"


def format_with_provenance(quantity: Quantity, unit: str | None = None) -> str:
    """Value, interval and mark in one line: `0.612 ms (0.608–0.615 ms) ● measured`."""
    if quantity.value is None:
        return format_provenance(quantity)
    interval = format_interval(quantity, unit)
    return f"{format_quantity(quantity, unit)}{f' ({interval})' if interval else ''} {format_provenance(quantity)}"


def format_change(before: Quantity | None, after: Quantity | None) -> str:
    """Change of a number: in points for fractions, else in percent, or as a factor of at least 4.

    Empty if a value is missing.
    """
    if before is None or after is None or before.value is None or after.value is None:
        return ""
    if after.value == before.value:
        return "="
    if after.unit == "fraction":
        return _format_change(100 * (after.value - before.value), 2, gettext("points"))
    if before.value <= 0 or after.value <= 0:
        return _with_sign(format_value(after.value - before.value, after.unit))
    ratio = after.value / before.value
    if ratio <= 0.25 or ratio >= 4:
        times = max(ratio, 1 / ratio)
        return f"{'÷' if ratio < 1 else '×'} {_format_number(times, _decimals(times, 3))}"
    return _format_change(100 * (ratio - 1), 1, "%")


def _format_change(change: float, decimals: int, unit: str) -> str:
    """A change with its sign; one that these decimals round to 0 has up to four, and is `≈ 0` below that."""
    if float(f"{change:.{decimals}f}") == 0:
        decimals = min(_SMALLEST, _decimals(change, 1))
    text = _with_sign(_format_number(change, decimals))
    return f"{text} {unit}" if float(f"{change:.{decimals}f}") else f"≈ 0 {unit}"


def _with_sign(text: str) -> str:
    return text if text.startswith((MINUS, "0 ")) else f"+{text}"


def format_duration(seconds: float) -> str:
    """Wall time: `4.1 s`, `3 min 20 s`, `1 h 02 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
