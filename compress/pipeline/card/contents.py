"""What a model card and a bill of materials have in common: what ships, from which networks and data, and its weaknesses."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from compress.core.entries import mapping
from compress.core.format_quantity import format_with_provenance
from compress.core.record import BenchmarkRow, Metrics, StageRecord
from compress.core.run_directory import ARTIFACTS
from compress.core.run_record import RunRecord
from compress.core.sentences import render
from compress.core.sentences.limits import RESULT_WORDS, allowed_words, limit_words
from compress.models.settings import TEACHER, brings_weights, split_source
from compress.pipeline.report import class_tables
from compress.pipeline.report.generation_rows import WRITING, with_generation
from compress.pipeline.report.group_tables import group_points
from compress.pipeline.report.outline import SMOKE
from compress.pipeline.review.invalid_metrics import metrics_without_test, no_test
from compress.pipeline.review.judge_record import shipped_rows, task_metrics

ON_A_DEVICE = (*WRITING, "memory_bytes", "energy_j")
"""Quantities of a device besides the latency."""
NO_ENERGY = "not measured: a run records the energy of an inference where a sensor can be read, not that of its own computation"


class SourceNetwork(NamedTuple):
    """A network that a run started from, or learned from.

    Attributes:
        role: `network` (the start of the chain), `teacher`.
        source: As in the recipe, such as `torchvision:resnet50`.
        pretrained: Whether its weights come from elsewhere, as far as the recipe shows: a `python:` source may load some.
        hub_name: Its name on the Hugging Face hub; empty where the recipe does not show one: an `hf:` name can be a folder.
    """

    role: str
    source: str
    pretrained: bool
    hub_name: str = ""


def artifact_files(record: RunRecord) -> dict[str, dict[str, str]]:
    """SHA-256 of every file that ships, by name, by device; empty for a run that exported nothing."""
    for stage in reversed(record.stages):
        folders: dict[str, dict[str, str]] = defaultdict(dict)
        for path, digest in sorted(stage.files.items()):
            top, _, inside = path.partition("/")
            if top == ARTIFACTS and inside:
                folder, _, name = inside.partition("/")
                folders[folder][name] = digest
        if folders:
            return dict(folders)
    return {}


def artifact_rows(record: RunRecord) -> tuple[BenchmarkRow, ...]:
    """Measurements and estimates of what ships, a row for each device and file."""
    return tuple(with_generation(record.stages, row) for row in shipped_rows(record) if row.subject == "artifact")


def data_name(record: RunRecord) -> str:
    """The data source without the folders of this machine: `imagefolder:photos` for `imagefolder:/home/me/photos`."""
    return short_source(str(record.data.get("source") or "unknown data"))


def short_source(source: str) -> str:
    """A source with the last part of its path alone."""
    kind, rest = split_source(source)
    parts = re.split(r"[/\\]", rest.rstrip("/"))
    return f"{kind}:{parts[-1]}" if len(parts) > 1 else source


def with_valid_metrics(record: RunRecord, metrics: Metrics) -> Metrics:
    """Metrics of a network of the run; those on random inputs, or on the training samples, as not measured."""
    return metrics | metrics_without_test(task_metrics(record), record.warnings)


def source_networks(record: RunRecord) -> tuple[SourceNetwork, ...]:
    """The network that was compressed, and the teachers, as far as the resolved recipe names them."""
    teacher = record.recipe.get("teacher")
    teachers = teacher if isinstance(teacher, list | tuple) else [teacher]
    model = record.recipe.get("model")
    if isinstance(model, Mapping) and (mapping(model, "settings") or model).get("source") == TEACHER:
        model = teachers[0]
    entries = (("network", model), *(("teacher", entry) for entry in teachers))
    return tuple(_source_network(role, entry) for role, entry in entries if isinstance(entry, Mapping))


def _source_network(role: str, entry: Mapping[str, object]) -> SourceNetwork:
    settings = mapping(entry, "settings") or entry
    own = settings.get("source")
    if not isinstance(own, str):
        return SourceNetwork(role, f"the caller's own {entry.get('class', 'module')}", pretrained=False)
    kind, rest = split_source(own)
    weights = settings.get("weights")
    fresh = kind == "python" or not brings_weights(own, None if weights is None else str(weights), mapping(settings, "args"))
    architecture = settings.get("architecture")
    text = short_source(own) + (f" ({architecture})" if architecture else "") + (f", weights {weights}" if weights else "")
    is_on_hub = kind == "timm" and "." in rest and not fresh  # a tag names the weights, and with the name a repository
    return SourceNetwork(role, text, not fresh, f"timm/{rest}" if is_on_hub else "")


def weaknesses(record: RunRecord) -> Iterator[str]:
    """What is known to be weak or was not shown: limits that are not met, classes that lost most, warnings of every stage."""
    if record.smoke:
        yield SMOKE
    for check in record.verdict.checks if record.verdict else ():
        if check.result != "met":
            value = format_with_provenance(check.quantity, check.unit or None)
            yield f"{limit_words(check)} {allowed_words(check)}: {RESULT_WORDS[check.result]}; {value}"
    for note in record.verdict.notes if record.verdict else ():
        yield render(note)
    if not no_test(record.warnings):
        yield from (f"classes: {line}" for line in class_tables.summary(record))
    yield from group_points(record)
    places: dict[str, list[str]] = {}
    for title, warnings in (
        ("start", record.warnings),
        *((stage_title(stage), stage.warnings) for stage in record.every_stage),
    ):
        for warning in warnings:
            places.setdefault(render(warning), []).append(title)
    yield from (f"{', '.join(titles)}: {words}" for words, titles in places.items())


def stage_title(stage: StageRecord) -> str:
    """Position and name: `2 · prune`."""
    return f"{stage.index} · {stage.name}"
