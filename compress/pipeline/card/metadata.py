"""Metadata of a model card: the YAML block that the Hugging Face hub reads at the head of `README.md`.

The entries are those of `ModelCardData` in huggingface_hub, which is not needed to write them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from compress.core.printable import printable
from compress.core.run_record import RunRecord
from compress.pipeline.card.contents import artifact_files, data_name, source_networks, with_valid_metrics
from compress.pipeline.report.tables import final_metrics
from compress.pipeline.review.judge_record import task_metrics

HUB_TASKS = {
    "classification": "image-classification",
    "inspection": "image-classification",
    "multilabel": "image-classification",
    "segmentation": "image-segmentation",
    "detection": "object-detection",
}
"""Name on the hub of the tasks that have one, where inputs are images."""
STAGE_TAGS = {"prune": "pruning", "distill": "distillation", "quantize": "quantization", "substitute": "operator-substitution"}
UNKNOWN_LICENSE = "unknown"
_PLAIN = re.compile(r"^[A-Za-z][A-Za-z0-9_./-]*$")
_RESERVED = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
"""Words that YAML 1.1 reads as another value than a text."""
_EXPONENT = re.compile(r"^(-?\d+)e")
_UNREADABLE = re.compile("[\ufffe\uffff]")
"""Characters that a YAML reader refuses, besides those that `printable` replaces."""


def task_name(record: RunRecord) -> str:
    """Name of the task in the recipe; older recipes without one are of classification."""
    task = record.recipe.get("task") or "classification"
    return next(iter(map(str, task)), "") if isinstance(task, Mapping) else str(task)


def metadata(record: RunRecord, *, license_id: str = "", base_model: str = "") -> dict[str, object]:
    """The entries, without those that are not known.

    Args:
        record: The run.
        license_id: Identifier of the licence on the hub, such as `apache-2.0`; `unknown` by default.
        base_model: Name on the hub of the network that the run started from; by default as far as the recipe shows it.
    """
    hub_task = HUB_TASKS.get(task_name(record), "") if record.spec.takes_images else ""
    names = [network.hub_name for network in source_networks(record) if network.role == "network" and network.hub_name]
    metrics = [] if record.smoke else _metrics(record)
    task = {"type": hub_task or task_name(record), "name": task_name(record)}
    dataset = {"name": data_name(record), "type": data_name(record), "split": "test"}
    results = [{"task": task, "dataset": dataset, "metrics": metrics}]
    entries: dict[str, object] = {
        "license": license_id or UNKNOWN_LICENSE,
        "library_name": "onnx" if any("model.onnx" in files for files in artifact_files(record).values()) else None,
        "pipeline_tag": hub_task or None,
        "base_model": base_model or next(iter(names), None),
        "tags": list(dict.fromkeys(("compress", *_tags(record)))),
        "metrics": [metric["type"] for metric in metrics] or None,
        "model-index": [{"name": record.name, "results": results}] if metrics else None,
    }
    return {name: entry for name, entry in entries.items() if entry is not None}


def _metrics(record: RunRecord) -> list[dict[str, object]]:
    """Every metric of the task that was measured on test; none on random inputs."""
    final = with_valid_metrics(record, final_metrics(record))
    return [
        {"type": metric.name, "value": value.value, "name": metric.label}
        for metric in task_metrics(record)
        if (value := final.get(metric.name)) is not None and value.how == "measured" and value.value is not None
    ]


def _tags(record: RunRecord) -> Iterator[str]:
    if any("model.onnx" in files for files in artifact_files(record).values()):
        yield "onnx"
    yield from (STAGE_TAGS[stage.name] for stage in record.stages if stage.name in STAGE_TAGS)


def to_yaml(entries: Mapping[str, object]) -> str:
    """Entries as block YAML that readers of YAML 1.1 and 1.2 read as the same values; control characters become visible."""
    return "\n".join(_lines(entries, "")) + "\n"


def _lines(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        pairs = [(f"{_scalar(name)}:", inside) for name, inside in value.items()]
    else:
        assert isinstance(value, list)  # noqa: S101  # a scalar stands on the line of its key
        pairs = [("-", inside) for inside in value]
    for head, inside in pairs:
        if not isinstance(inside, Mapping | list):
            yield f"{indent}{head} {_scalar(inside)}"
        elif head == "-":
            first, *rest = _lines(inside, f"{indent}  ")
            yield from (f"{indent}- {first.lstrip(' ')}", *rest)
        else:
            yield f"{indent}{head}"
            yield from _lines(inside, indent if isinstance(inside, list) else f"{indent}  ")


def _scalar(value: object) -> str:
    if isinstance(value, float):
        return _EXPONENT.sub(r"\1.0e", repr(value))  # YAML 1.1 takes a number for a text where it has an exponent and no point
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.match(value) and value.lower() not in _RESERVED:
        return value
    return json.dumps(_UNREADABLE.sub("�", printable(value)), ensure_ascii=False)
