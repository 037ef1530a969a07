from __future__ import annotations

import pytest

from compress.core.language import in_language
from compress.core.licence_note import LicenceNote
from compress.core.record import StageRecord
from compress.models.licences import package_licence, package_note, run_notes


def record(name: str, versions: dict[str, str] | None = None, **parameters: object) -> StageRecord:
    return StageRecord(
        index=0, name=name, key="k", parent_key="", form="torch", parameters=parameters, before={}, after={}, seed=0,
        versions=versions or {}, started="now", wall_time_s=0.0,
    )  # fmt: skip


def network(source: str, weights: str | None = None, architecture: str | None = None) -> dict[str, object]:
    return {"settings": {"source": source, "weights": weights, "architecture": architecture}, "source": {}}


def by_what(*records: StageRecord, **data: object) -> dict[str, LicenceNote]:
    return {note.what: note for note in run_notes(records, {"source": "digits", **data})}


def test_fresh_network_owes_nothing_and_data_must_be_checked() -> None:
    result = by_what(record("start", network=network("torchvision:mobilenet_v2")), record("distill", epochs=3))
    assert result["network: architecture"].origin == "torchvision:mobilenet_v2"
    assert "BSD" in result["network: architecture"].licence
    assert result["network: initial weights"].licence == "no third-party licence"
    fresh = by_what(record("start", network=network("hf:net", "fresh")))
    assert fresh["network: initial weights"].licence == "no third-party licence"
    assert "digits" in result["training data"].origin
    assert "check it with the publisher" in result["training data"].licence
    assert {what for what, note in result.items() if note.must_check} == {"training data"}


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
    assert note.must_check
    assert any(name in note.origin for name in ("IMAGENET1K_V2", "w.safetensors", "mine.Net"))


def test_data_of_a_stage_and_a_tokenizer_have_notes() -> None:
    notes = by_what(record("distill", data={"source": "imagefolder:more"}), tokenizer="hub/words")
    assert notes["training data of stage distill"].origin.startswith("imagefolder:more")
    assert notes["tokenizer"].origin == "hub/words"


def test_licences_are_those_that_packages_state() -> None:
    assert package_licence("onnxruntime").startswith("MIT")
    assert package_licence("compress").startswith("Apache-2.0")
    assert "not installed" in package_licence("no-such-package")


def test_licence_of_another_version_is_not_that_of_the_run() -> None:
    assert not package_note("onnxruntime").must_check
    other = package_note("onnxruntime", "0.0.1")
    assert other.must_check
    assert "MIT" not in other.licence


def test_packages_of_all_stages_are_named_once() -> None:
    notes = run_notes([record("start", {"python": "3.11.7"}), record("prune", {"python": "3.11.7"})], {})
    assert [note.what for note in notes] == ["package python"]


def test_notes_are_read_in_another_language() -> None:
    note = by_what()["training data"]
    with in_language("zh"):
        read = LicenceNote.model_validate_json(note.model_dump_json())
    assert read.what == "训练数据"
