"""CycloneDX 1.6 bill of materials of a run: the network with its model card, files and data, and the packages that made it.

Specification: https://cyclonedx.org/docs/1.6/json/, ECMA-424.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from compress.core.language import again, gettext
from compress.core.printable import printable
from compress.core.record import Quantity
from compress.core.run_record import RunRecord
from compress.core.signature import TensorSpec
from compress.export.licences import RUNTIMES
from compress.models.licences import stated_licence
from compress.pipeline.card.contents import (
    NO_ENERGY,
    ON_A_DEVICE,
    SourceNetwork,
    artifact_files,
    artifact_rows,
    data_name,
    source_networks,
    stage_title,
    weaknesses,
    with_valid_metrics,
)
from compress.pipeline.card.metadata import task_name
from compress.pipeline.report import class_tables
from compress.pipeline.report.tables import final_metrics
from compress.pipeline.review.invalid_metrics import no_test
from compress.pipeline.review.judge_record import task_metrics

Object = dict[str, object]

MODEL, DATA = "model", "training data"
NOT_ON_PYPI = ("compress", "python")
"""Packages whose package URL is generic; others are distributions of PyPI."""
RUN_ONNX = ("onnxruntime", "openvino", "tensorrt")
"""Runtimes that every export may be for; others are named by a format of their own."""
MODEL_FILE = "model.onnx"


def bill_of_materials(record: RunRecord, *, license_id: str = "") -> Object:
    """The bill as JSON; each has a serial number of its own.

    Args:
        record: The run.
        license_id: SPDX identifier of the licence of the network; empty leaves it out.
    """
    packages = list(_packages(record))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "tools": {"components": [_tool(record)]},
            "component": _model(record, license_id),
        },
        "components": [*packages, *_teachers(record)],
        "dependencies": [{"ref": MODEL, "dependsOn": [package["bom-ref"] for package in packages]}],
    }


def _tool(record: RunRecord) -> Object:
    tool: Object = {"type": "application", "name": "compress"}
    return tool | ({"version": version} if (version := record.environment.get("compress")) else {})


def _model(record: RunRecord, license_id: str) -> Object:
    """The network that ships, with its files as parts."""
    files = artifact_files(record)
    digests = {by_name[MODEL_FILE] for by_name in files.values() if MODEL_FILE in by_name}
    networks = [network for network in source_networks(record) if network.role == "network"]
    made = " → ".join(stage.name for stage in record.stages)
    model: Object = {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": _text(record.name),
        "version": record.stages[-1].key[:12] if record.stages else record.started,
        "description": _text(f"network for the task {task_name(record)}, compressed by: {made or 'no stage'}"),
        "modelCard": _model_card(record, networks),
        "components": [_file(device, name, digest) for device, names in files.items() for name, digest in names.items()],
        "pedigree": {
            "ancestors": [_network(network) for network in networks if network.pretrained],
            "notes": _text("; ".join(stage_title(stage) for stage in record.every_stage)),
        },
    }
    if len(digests) == 1:  # all devices have the same network
        model["hashes"] = [_hash(digests.pop())]
    if license_id:
        model["licenses"] = [{"expression": license_id}]
    return model


def _model_card(record: RunRecord, networks: list[SourceNetwork]) -> Object:
    architecture = {"modelArchitecture": _text(networks[0].source)} if networks else {}
    return {
        "modelParameters": {
            "task": _text(task_name(record)),
            **architecture,
            "datasets": [_dataset(record)],
            "inputs": [{"format": _text(_format(record, tensor))} for tensor in record.spec.signature.inputs],
            "outputs": [{"format": _text(str(tensor))} for tensor in record.spec.signature.outputs],
        },
        "quantitativeAnalysis": {"performanceMetrics": [] if record.smoke else list(_performance(record))},
        "considerations": {
            "technicalLimitations": [_text(each) for each in dict.fromkeys(weaknesses(record))],
            "environmentalConsiderations": {
                "properties": [
                    _property("compress:computation_s", str(record.wall_time_s)),
                    _property("compress:energy", NO_ENERGY),
                ]
            },
        },
    }


def _format(record: RunRecord, tensor: TensorSpec) -> str:
    return f"{f'{record.spec.preprocessing.kind}, ' if record.spec.preprocessing else ''}{tensor}"


def _dataset(record: RunRecord) -> Object:
    settings = [_property(f"compress:{name}", str(value)) for name, value in record.data.items() if name != "source" and value]
    description = "training, validation and test split; its terms of use are not recorded"
    name = _text(data_name(record))
    return {"type": "dataset", "bom-ref": DATA, "name": name, "contents": {"properties": settings}, "description": description}


def _performance(record: RunRecord) -> Iterator[Object]:
    """Metrics on test, then latency, memory and energy on each device; values that were not measured are left out."""
    final = with_valid_metrics(record, final_metrics(record))
    for metric in task_metrics(record):
        yield from _metric(metric.name, final.get(metric.name), "test split")
        yield from _metric(metric.loss_name, final.get(metric.loss_name), "test split")
    if not no_test(record.warnings):
        yield from _classes(record)
    yield from _metric("size_bytes", final.get("size_bytes"), "")
    for row in artifact_rows(record):
        place = ", ".join(filter(None, (row.device, row.file, row.runtime, row.other_hardware and f"on {row.other_hardware}")))
        for name in (row.latency_name, *ON_A_DEVICE):
            yield from _metric(name, row.quantities.get(name), place)


def _classes(record: RunRecord) -> Iterator[Object]:
    """The metric of each class, or the recall where the task gives each sample one class."""
    for each in class_tables.class_metrics(record):
        yield from _metric(each.label, each.after, f"test split, class {each.name}, {each.samples} samples")
    if (compared := class_tables.comparison_of(record)) is not None:
        for change in compared[1].classes:
            recall = Quantity.measured(change.recall, "fraction")
            yield from _metric("recall", recall, f"test split, class {change.name}, {change.samples} samples")


def _metric(name: str, quantity: Quantity | None, place: str) -> Iterator[Object]:
    """A performance metric. An error band of an estimate is no confidence interval: it stands in the slice, with its model."""
    if quantity is None or quantity.value is None:
        return
    low, high = quantity.low, quantity.high
    band = f", between {low:g} and {high:g}" if quantity.how == "estimated" and low is not None and high is not None else ""
    about = ", ".join(filter(None, (place, f"{quantity.how}{band}", f"unit {quantity.unit}", again(quantity.detail))))
    metric: Object = {"type": name, "value": repr(quantity.value), "slice": _text(about)}
    if quantity.how == "measured" and low is not None and high is not None:
        metric["confidenceInterval"] = {"lowerBound": repr(low), "upperBound": repr(high)}
    yield metric


def _file(device: str, name: str, digest: str) -> Object:
    path = _text(f"{device}/{name}")
    return {"type": "file", "bom-ref": f"file:{path}", "name": path, "hashes": [_hash(digest)]}


def _hash(digest: str) -> Object:
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        msg = gettext("{digest!r} is not a SHA-256", digest=digest[:80])
        raise ValueError(msg)
    return {"alg": "SHA-256", "content": digest}


def _teachers(record: RunRecord) -> Iterator[Object]:
    teachers = (network for network in source_networks(record) if network.role == "teacher")
    for index, network in enumerate(teachers):
        digest = record.teacher.files.get(MODEL_FILE) if index == 0 and record.teacher else None
        hashes: Mapping[str, object] = {"hashes": [_hash(digest)]} if digest else {}
        yield {**_network(network), "bom-ref": f"teacher:{index + 1}", "description": "teacher of the distillation", **hashes}


def _network(network: SourceNetwork) -> Object:
    return {"type": "machine-learning-model", "name": _text(network.source)}


def _packages(record: RunRecord) -> Iterator[Object]:
    """Packages of all stages; those that a script of the artifact needs are required, the others made the network."""
    stages = record.every_stage
    given = [stage.parameters.get("formats") for stage in stages]
    formats = {str(name) for each in given if isinstance(each, list | tuple) for name in each}
    needed = {package for runtime in (*RUN_ONNX, *formats) for package in RUNTIMES.get(runtime, ())}
    for name, version in sorted({package for stage in stages for package in stage.versions.items()}):
        kind = "generic" if name in NOT_ON_PYPI else "pypi"
        package: Object = {
            "type": "library",
            "bom-ref": _text(f"package:{name}@{version}"),
            "name": _text(name),
            "version": _text(version),
            "scope": "required" if name in needed else "excluded",
            "purl": f"pkg:{kind}/{quote(name.lower().replace('_', '-'), safe='')}@{quote(version, safe='')}",
        }
        yield package | _licences(name, version)


def _licences(name: str, version: str) -> Object:
    """The licence that the installed package states, where it is the version of the run; else none."""
    licence = stated_licence(name)
    if licence is None or licence.version != version or not licence.text:
        return {}
    if licence.is_expression:
        return {"licenses": [{"expression": licence.text}]}
    return {"licenses": [{"license": {"name": _text(licence.text)}}]}


def _property(name: str, value: str) -> Object:
    return {"name": _text(name), "value": _text(value)}


def _text(text: str) -> str:
    """Text without control characters."""
    return printable(text)
