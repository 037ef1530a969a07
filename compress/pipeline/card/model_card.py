"""Model card of a run for the Hugging Face hub: `README.md` with metadata (`metadata.py`) and a text for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from compress.config.yaml_writer import dump
from compress.core.format_quantity import (
    difference_unit,
    format_duration,
    format_with_provenance,
    quantity_label,
)
from compress.core.language import again
from compress.core.printable import printable
from compress.core.record import BenchmarkRow, Quantity
from compress.core.run_record import RunRecord
from compress.export.infer_script import example_input
from compress.pipeline.card.contents import (
    NO_ENERGY,
    ON_A_DEVICE,
    artifact_files,
    artifact_rows,
    data_name,
    source_networks,
    stage_title,
    weaknesses,
    with_valid_metrics,
)
from compress.pipeline.card.metadata import metadata, task_name, to_yaml
from compress.pipeline.report.markdown import escape
from compress.pipeline.report.outline import SMOKE, deciding_metric, describe_inputs
from compress.pipeline.report.tables import final_metrics, reference_metrics
from compress.pipeline.review.judge_record import task_metrics

COUNTS = ("size_bytes", "parameters", "macs")
"""Quantities of the table of results besides the metrics."""
MARKS = (
    "● measured, ◐ estimated by a model with its error band, ○ not measured. Ranges of measurements are 95 % intervals. "
    "Metrics are those on the test split, which no decision of the run used."
)


def model_card(record: RunRecord, *, license_id: str = "", base_model: str = "") -> str:
    """The card.

    Args:
        record: The run.
        license_id: See `metadata`.
        base_model: See `metadata`.
    """
    head = to_yaml(metadata(record, license_id=license_id, base_model=base_model))
    sections = (
        _about(record),
        _made(record),
        _results(record),
        _devices(record),
        _limits(record, license_id),
        _usage(record),
        _rebuild(record),
        _environment(record),
    )
    body = "\n".join(line for section in sections for line in section)
    return printable(f"---\n{head}---\n\n{body}\n")


def _about(record: RunRecord) -> Iterator[str]:
    yield from (f"# {escape(record.name)}", "")
    if record.smoke:
        yield from (f"**{escape(SMOKE)}.**", "")
    networks = [
        f"made from {network.source}{' (pretrained)' if network.pretrained else ''}" for network in source_networks(record)
    ]
    facts = (*networks[:1], describe_inputs(record.spec), f"trained and tested on {data_name(record)}")
    yield from (f"A compressed network for {escape(task_name(record))}: {escape(', '.join(facts))}.", "")
    if record.spec.classes:
        shown = ", ".join(escape(name) for name in record.spec.classes[:20])
        more = f" and {len(record.spec.classes) - 20} more, see `labels.json`" if len(record.spec.classes) > 20 else ""
        yield from (f"Outputs: {shown}{more}.", "")


def _made(record: RunRecord) -> Iterator[str]:
    metric = deciding_metric(record)
    yield from ("## How it was made", "")
    for stage in record.every_stage:
        after = with_valid_metrics(record, stage.after)
        values = [
            f"{quantity_label(name, metric)} {format_with_provenance(quantity)}"
            for name in (metric.name, "size_bytes")
            if (quantity := after.get(name)) is not None
        ]
        yield f"- **{escape(stage_title(stage))}** ({format_duration(stage.wall_time_s)}): {escape('; '.join(values))}"
    teachers = [network for network in source_networks(record) if network.role == "teacher"]
    if teachers:
        names = ", ".join(f"{each.source}{' (pretrained)' if each.pretrained else ''}" for each in teachers)
        yield from ("", f"Teacher: {escape(names)}.")
    yield ""


def _results(record: RunRecord) -> Iterator[str]:
    final, (reference, before) = with_valid_metrics(record, final_metrics(record)), reference_metrics(record)
    before = with_valid_metrics(record, before)
    rows: list[Sequence[str]] = []
    for metric in task_metrics(record):
        if metric.name in final:
            better = "higher" if metric.higher_is_better else "lower"
            values = [_words(metrics.get(metric.name)) for metrics in (before, final)]
            rows.append((f"{metric.label} ({better} is better)", *values))
    rows += [(quantity_label(name), _words(before.get(name)), _words(final.get(name))) for name in COUNTS if name in final]
    yield from ("## Results", "")
    yield from _table(("", reference, "this network"), rows)
    metric = deciding_metric(record)
    if loss := final.get(metric.loss_name):
        yield from (
            f"{escape(quantity_label(metric.loss_name, metric))}: "
            f"{escape(format_with_provenance(loss, difference_unit(metric.unit)))}; {escape(again(loss.detail))}.",
            "",
        )
    yield from (escape(MARKS), "")


def _devices(record: RunRecord) -> Iterator[str]:
    rows = artifact_rows(record)
    yield from ("## Devices", "")
    if not rows:
        yield from ("Latency, memory and energy on a device are not measured: no stage profiled the network that ships.", "")
        return
    names = [name for name in ON_A_DEVICE if any(name in row.quantities for row in rows)]
    header = ("device", "runtime", "latency, median", *(quantity_label(name) for name in names))
    yield from _table(header, [_device_row(row, names) for row in rows])
    details = dict.fromkeys(detail for row in rows for detail in _details(row, names))
    yield from (*(f"- {escape(detail)}" for detail in details), "")


def _device_row(row: BenchmarkRow, names: Sequence[str]) -> Sequence[str]:
    latency = f"{_words(row.quantities.get(row.latency_name))}, {quantity_label(row.latency_name).partition(', ')[2]}"
    return (
        ", ".join(filter(None, (row.device, row.file))),
        row.runtime,
        latency,
        *(_words(row.quantities.get(name)) for name in names),
    )


def _details(row: BenchmarkRow, names: Sequence[str]) -> Iterator[str]:
    """Where and how the numbers of a device were obtained, or why not; quantities with the same reason stand together."""
    if row.other_hardware:
        yield f"{row.device}: measured on {row.other_hardware}, which is not the hardware of the device profile"
    labels: dict[tuple[str, str], list[str]] = {}
    for name in (row.latency_name, *names):
        if (quantity := row.quantities.get(name)) is not None and quantity.detail:
            labels.setdefault((quantity.how, again(quantity.detail)), []).append(quantity_label(name))
    yield from (f"{row.device}, {'; '.join(each)}: {how}: {detail}" for (how, detail), each in labels.items())


def _limits(record: RunRecord, license_id: str) -> Iterator[str]:
    yield from ("## Limits and known weaknesses", "")
    yield from (f"- {escape(text)}" for text in weaknesses(record))
    yield f"- It was tested on data like its training data ({escape(data_name(record))}); other data were not tested."
    if not license_id:
        yield (
            "- Licence: not stated. The terms of weights and training data can apply to this network; `LICENCES.md` in each "
            "folder of the artifact lists what must be checked."
        )
    for note in record.licences:
        if note.must_check:
            yield f"- Licence to check before you publish the network: {escape(f'{note.what}, {note.origin}: {note.licence}')}."
    yield ""


def _usage(record: RunRecord) -> Iterator[str]:
    yield from ("## How to run it", "")
    folders = {device: files for device, files in artifact_files(record).items() if device != "torch"}
    if not folders:
        yield from ("The run exported no artifact.", "")
        return
    for device, files in folders.items():
        steps = [f"cd {_shell_word(f'artifacts/{device}')}"]
        steps += ["sh build_engine.sh            # on the device, once"] if "build_engine.sh" in files else []
        steps += [f"python infer.py {example_input(record.spec)}"] if "infer.py" in files else []
        yield from _fenced("\n".join(steps), "sh")
    yield from ("The head of each `infer.py` lists the packages that it needs. Check the files by their SHA-256:", "")
    rows = [(device, name, digest) for device, files in artifact_files(record).items() for name, digest in files.items()]
    yield from _table(("folder of artifacts", "file", "SHA-256"), rows)


def _rebuild(record: RunRecord) -> Iterator[str]:
    version = record.environment.get("compress", "")
    trust = " --trust-code" if "python:" in dump(record.recipe) else ""
    yield from ("## How to rebuild it", "")
    if record.recipe_text:
        smoke = " --smoke" if record.smoke else ""
        yield f"With compress {escape(version)}, save the resolved recipe below as `recipe.yaml`, and run:"
        yield ""
        yield from _fenced(f"compress pipeline recipe.yaml{smoke}{trust}", "sh")
    else:
        yield f"The run was started from Python with compress {escape(version)}; the record has its settings, not its program."
        yield ""
    yield from ("<details><summary>Resolved recipe</summary>", "")
    yield from _fenced(dump(record.recipe), "yaml")
    yield from ("</details>", "")


def _environment(record: RunRecord) -> Iterator[str]:
    yield from ("## Time, energy and environment", "")
    facts = {
        "Computation": f"{format_duration(record.wall_time_s)} in all stages, started {record.started}",
        "Energy of the computation": NO_ENERGY,
        **record.environment,
    }
    yield from (f"- {escape(name)}: {escape(text)}" for name, text in facts.items())


def _words(quantity: Quantity | None) -> str:
    return "—" if quantity is None else format_with_provenance(quantity)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = [[escape(cell) for cell in row] for row in (header, *rows)]
    lines.insert(1, ["---"] * len(header))
    yield from (*(f"| {' | '.join(cells)} |" for cells in lines), "")


def _fenced(text: str, language: str) -> Iterator[str]:
    """A block of code; the fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}{language}", text.rstrip("\n"), fence, "")


def _shell_word(text: str) -> str:
    return text if re.fullmatch(r"[\w./-]+", text) else "'" + text.replace("'", "'\\''") + "'"
