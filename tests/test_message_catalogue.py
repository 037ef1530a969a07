"""The catalogue has every message of the source, and no other; its translations keep the fields."""

from __future__ import annotations

import pytest

from compress.core.language import LANGUAGES
from tests import message_catalogue as catalogue

TRANSLATED = LANGUAGES[1:]
NOT_YET = ("pipeline/", "core/", "export/", "profile/", "backends/", "models/", "verify/")
"""Rooms with texts that no catalogue has yet, also where most are translated."""
ENGLISH = {
    "__init__.py": "an error for developers",
    "cli/one_verb_commands.py": "a command line",
    "cli/render.py": "names of results, and markup",
    "config/devices/cpu_info.py": "texts of /proc/cpuinfo",
    "config/devices/load_device.py": "the title of a device, and versions in stage keys",
    "config/devices/profile_schema.py": "tags of a union, which pydantic takes away",
    "config/devices/template.py": "a generated file",
    "config/pydantic_messages.py": "prefixes of pydantic, and one word of a table",
    "config/recipe.py": "the title of the JSON schema",
    "data/decode_image.py": "copied into infer.py",
    "data/sources/segmentation/mask_listing.py": "folders of a layout",
    "data/sources/text/python_docs.py": "names of modules",
    "dataset_distillation/base.py": "an error for developers",
    "distill/teachers/external.py": "the name of a teacher in the record",
    "distill/teachers/self_teachers.py": "the name of a teacher in the record",
    "distill/teachers/settings.py": "an error for developers",
    "prune/run_stage.py": "names and labels of curves in figures",
    "prune/sensitivity.py": "labels of a figure",
    "prune/sparse_training/penalties.py": "names of kinds of layers that code compares",
    "prune/structured/tolerant_graph.py": "a text of Python's warnings",
    "prune/unstructured/dynamic_sparse_training.py": "labels of a figure",
    "prune/unstructured/lottery_ticket.py": "the label of a checkpoint",
    "quantize/acceptance.py": "the name of a limit",
    "quantize/static_int8.py": "the name of a scheme of ONNX Runtime",
    "substitute/loop.py": "names of steps in a figure",
    "substitute/results.py": "labels of a figure",
    "tasks/defect_task.py": "a generated file",
    "tasks/infer_defects.py": "copied into infer.py",
    "tasks/infer_detection.py": "copied into infer.py",
    "tasks/infer_text.py": "copied into infer.py",
    "train/loss_term.py": "an error for developers",
    "train/optimizer_step.py": "a text of torch's errors",
    "train/teachers/base.py": "an error for developers",
}
"""Files with texts that stay English, and why."""


@pytest.fixture(scope="module")
def source():
    return set(catalogue.messages())


@pytest.fixture(scope="module", params=TRANSLATED)
def entries(request):
    return [entry for entry in catalogue.read(request.param) if entry.id]


def _texts(entry):
    return [(entry.id, entry.string)] if isinstance(entry.id, str) else [(entry.id[1], text) for text in entry.string]


def test_the_catalogue_has_the_messages_of_the_source(source, entries):
    written = {entry.id for entry in entries}
    assert not source - written, "run python -m tests.message_catalogue and translate the new messages"
    assert not written - source, "run python -m tests.message_catalogue to remove obsolete messages"


def test_every_message_is_translated(entries):
    assert not [
        entry.id for entry in entries if entry.fuzzy or not all(text.strip() or not key.strip() for key, text in _texts(entry))
    ]


def test_translations_keep_fields_conversions_and_braces(entries):
    different = [
        (key, text)
        for entry in entries
        for key, text in _texts(entry)
        if catalogue.fields(key) != catalogue.fields(text) or any(key.count(mark) != text.count(mark) for mark in ("{{", "|"))
    ]
    assert not different


def test_every_text_for_users_is_a_message(source):
    known = {text for message in source for text in ((message,) if isinstance(message, str) else message)}
    outside = {}
    for path in sorted(catalogue.PACKAGE.rglob("*.py")):
        name = path.relative_to(catalogue.PACKAGE).as_posix()
        if not name.startswith(NOT_YET) and (texts := list(catalogue.outside_of_catalogue(path, known))):
            outside[name] = texts
    assert {name: texts for name, texts in outside.items() if name not in ENGLISH} == {}
    assert not ENGLISH.keys() - outside.keys(), "remove files without such texts from ENGLISH"


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_compiled_catalogue_is_that_of_the_text(language):
    path = catalogue.path_of(language)
    assert path.with_suffix(".mo").read_bytes() == catalogue.compiled(catalogue.read(language)), (
        "run python -m tests.message_catalogue"
    )


@pytest.mark.parametrize("text", ["{a} of {b!r:.3g}", "{{x}} {a:,}", "{}"])
def test_fields_are_those_of_a_template_without_literal_braces(text):
    fields = {"{a} of {b!r:.3g}": {"{a}", "{b!r:.3g}"}, "{{x}} {a:,}": {"{a:,}"}, "{}": {"{}"}}
    assert catalogue.fields(text) == fields[text]
