"""Words for names in records: networks of a run, tables of stages, their columns, and curves.

A name that is not listed, such as one of a method of a user, is shown with spaces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from compress.core.language import gettext
from compress.core.record import Metric, StageRecord

NETWORKS: Mapping[str, str] = {
    "teacher": "teacher",
    "start": "starting network",
    "student": "student",
    "artifact": "artifact",
}
"""Networks of a run. A reference can also be a stage, whose name is that of the recipe."""


def network_words(name: str) -> str:
    """A network of a run, by its name in the record."""
    return gettext(NETWORKS[name]) if name in NETWORKS else name


def stage_title(stage: StageRecord) -> str:
    """Index and name of a stage; of the teacher, which is no stage of the recipe, in words."""
    return f"{stage.index} · {network_words(stage.name) if stage.index == 0 else stage.name}"


def stage_caption(stage: StageRecord, caption: str) -> str:
    """The caption of a picture of a stage."""
    name = network_words(stage.name) if stage.index == 0 else stage.name
    return gettext("Stage {index}, {name}: {caption}.", index=stage.index, name=name, caption=caption)


TABLES: Mapping[str, str] = {
    "schemes": "Quantization schemes",
    "blocks": "Block sizes and accuracy levels",
    "acceptance": "Acceptance criteria",
    "auto": "Timing of possible replacements",
    "classes": "Metric of each class",
    "conversions": "Conversions between int8 and float",
    "draft_acceptance": "Acceptance of the draft by position",
    "draft_lengths": "Expected speed-up by number of proposals",
    "expert_shares": "Shares of the router",
    "experts": "Experts",
    "generation": "Speed of prompts and of further tokens",
    "groups": "Metric of each group",
    "latency_target": "Latency target",
    "layer_sqnr": "SQNR of each layer",
    "layers": "Layers",
    "layers_in_int8": "Layers in int8",
    "layers_time": "Time of each layer",
    "matched_layers": "Matched layers",
    "merged_networks": "Merged networks",
    "parity": "Parity of the exported files",
    "pruning_steps": "Pruning steps",
    "replacements": "Replacements",
    "rounding": "Rounded widths",
    "runtimes": "Comparison of runtimes",
    "sensitivity": "Sensitivity",
    "serving": "Time of a request",
    "speed": "Speed of the pruned layers",
    "substitution_speed": "Speed after substitution",
    "substitution_speed_estimated": "Speed after substitution, estimated",
    "sweep": "Batch sizes and threads",
    "templates": "Metrics of each template of prompts",
    "text_filters": "Filters of generated texts",
    "towers": "Time of each tower",
    "values": "Error of each value",
}
"""Titles of the tables of stages."""
WORDS: Mapping[str, str] = {
    "size_ratio": "size",
    "weights_mb": "weights, MB",
    "token_p50_ms": "time of a token",
    "time_to_first_token_ms": "time to first token",
    "scheme": "scheme",
    "request_ms": "time of a request",
    "passed": "passed",
    "changed_tokens": "changed tokens",
    "block": "inputs in a block",
    "accuracy_level": "accuracy level",
    "after": "after",
    "after_ms": "time after",
    "artifact_ms": "time of the artifact",
    "answer_tokens": "tokens of the answer",
    "around": "place",
    "batch": "batch size",
    "before": "before",
    "before_ms": "time before",
    "change": "change",
    "chosen": "chosen",
    "class": "class",
    "context": "tokens of the prompt",
    "conversions_ms": "time of conversions",
    "cosine": "cosine",
    "dequantize": "dequantize nodes",
    "device": "device",
    "epoch": "epoch",
    "exact_match": "exact match",
    "example": "a removed text",
    "file": "file",
    "filter": "filter",
    "expert": "expert",
    "fraction of connections exchanged": "fraction of connections exchanged",
    "frozen": "not pruned",
    "gone_after_each_step": "removed after each step",
    "group": "group",
    "held_out": "held out",
    "high": "upper end",
    "how": "provenance",
    "in_after": "inputs after",
    "in_before": "inputs before",
    "isolated": "isolated",
    "kept": "kept",
    "kind": "kind",
    "latency_ms": "latency",
    "layer": "layer",
    "learning rate": "learning rate",
    "limit": "limit",
    "loss": "loss",
    "loss_validation": "validation loss",
    "low": "lower end",
    "macs": "MACs",
    "max_abs": "largest error",
    "mean_abs": "mean error",
    "module": "module",
    "network": "network",
    "nodes": "nodes",
    "note": "note",
    "of": "of",
    "operators": "operators",
    "operators_ms": "time of operators",
    "optimizer step": "optimizer step",
    "out_after": "outputs after",
    "out_before": "outputs before",
    "pair": "pair",
    "prompt_tokens": "tokens of the prompt",
    "prompts": "prompts",
    "parameters": "parameters",
    "pruning step": "pruning step",
    "round": "round",
    "round_bytes": "bytes of a round",
    "quantize": "quantize nodes",
    "ratio": "ratio",
    "removed": "removed",
    "rouge_l": "ROUGE-L",
    "runs_in": "runs in",
    "runtime": "runtime",
    "samples": "samples",
    "router_share": "share of the router",
    "seconds": "seconds",
    "share": "share",
    "source": "source",
    "sparsity": "sparsity",
    "speedup": "speed-up",
    "sqnr_db": "SQNR",
    "step": "step",
    "student_ms": "time of the student",
    "substitution step": "substitution step",
    "target": "target",
    "template": "template",
    "texts": "texts",
    "threads": "threads",
    "time": "time",
    "top1": "equal top class",
    "training loss": "training loss",
    "update": "update",
    "value": "value",
    "why": "reason",
}
"""Columns of these tables, and names and axes of curves."""
AFFIXES: Mapping[str, str] = {
    "_pruned": "{name} right after pruning",
    "_recovered": "{name} after recovery",
    "_validation": "validation {name}",
    " over pruning steps": "{name} over the pruning steps",
    "_of_constant": "{name} of the best constant",
}
"""Ends of names that follow the name of a metric or a loss."""


def table_words(name: str) -> str:
    """The title of a table of a stage."""
    return gettext(TABLES[name]) if name in TABLES else name.replace("_", " ").capitalize()


def column_words(name: str, metric: Metric) -> str:
    """A column of such a table, or a curve.

    Args:
        name: In the record. Those of `Metric` are for the test split; a stage measures on the validation split.
        metric: The deciding metric, whose name others contain.
    """
    if name in WORDS:
        return gettext(WORDS[name])
    if name in (metric.name, metric.label):
        return gettext(metric.label)
    if step := re.fullmatch(r"(step-\d+|recover) (.+)", name):
        return gettext("{step}: {name}", step=step[1], name=column_words(step[2], metric))
    for end, words in AFFIXES.items():
        if name.endswith(end):
            return gettext(words, name=column_words(name.removesuffix(end), metric))
    whole = rf"(?<![^_]){re.escape(metric.name)}(?![^_])"
    return gettext(metric.label).join(part.replace("_", " ") for part in re.split(whole, name))
