from __future__ import annotations

import pytest

from compress.core.record import StageRecord
from compress.export import licences
from compress.export.licences import as_text, licence_notes, package_licence


def record(name: str, **parameters: object) -> StageRecord:
    return StageRecord(
        index=0, name=name, key="k", parent_key="", form="torch", parameters=parameters, before={}, after={}, seed=0,
        versions={}, started="now", wall_time_s=0.0,
    )  # fmt: skip


def network(source: str, weights: str | None = None, architecture: str | None = None) -> dict[str, object]:
    return {"settings": {"source": source, "weights": weights, "architecture": architecture}, "source": {}}


def by_what(*records: StageRecord, data: str = "digits") -> dict[str, licences.LicenceNote]:
    return {note.what: note for note in licence_notes("onnxruntime", data, records)}


def test_fresh_network_owes_nothing_and_data_must_be_checked() -> None:
    result = by_what(record("start", network=network("torchvision:mobilenet_v2")), record("distill", epochs=3))
    assert result["network: architecture"].origin == "torchvision:mobilenet_v2"
    assert "BSD" in result["network: architecture"].licence
    assert result["network: initial weights"].licence == "no third-party licence"
    fresh = by_what(record("start", network=network("hf:net", "fresh")))
    assert fresh["network: initial weights"].licence == "no third-party licence"
    assert "digits" in result["training data"].origin
    assert "check it with the publisher" in result["training data"].licence


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (network("torchvision:resnet50", "IMAGENET1K_V2"), "teacher: pretrained weights"),
        (network("file:w.safetensors", None, "torchvision:resnet50"), "teacher: initial weights"),
        (network("hf:w.safetensors"), "teacher: initial weights"),
        (network("onnx:w.safetensors"), "teacher: initial weights"),
        ({"settings": {"source": "teacher"}, "teacher": network("hf:w.safetensors")}, "teacher: initial weights"),
        ({"class": "mine.Net", "weights": "ab"}, "teacher: architecture and weights"),
    ],
)
def test_weights_of_others_must_be_checked(given: dict[str, object], what: str) -> None:
    note = by_what(record("teacher-2", network=given))[what]
    assert "check it with the publisher" in note.licence
    assert any(name in note.origin for name in ("IMAGENET1K_V2", "w.safetensors", "mine.Net"))


def test_licences_are_those_that_packages_state() -> None:
    assert package_licence("onnxruntime").startswith("MIT")
    assert package_licence("compress").startswith("Apache-2.0")
    assert "not installed" in package_licence("no-such-package")


def test_user_data_and_text_make_a_table() -> None:
    text = as_text(licence_notes("onnxruntime", "python:a|b.py:load", ()))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.count("|") == 4 for row in rows)
    assert any("a/b.py" in row for row in rows)
