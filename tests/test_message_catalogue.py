"""The catalogue has every message of the source, and no other; its translations keep the fields."""

from __future__ import annotations

import pytest

from compress.core.language import LANGUAGES
from tests import message_catalogue as catalogue

TRANSLATED = LANGUAGES[1:]
ENGLISH = {
    "__init__.py": "an error for developers",
    "backends/converted/missing_operators.py": "texts of runtimes",
    "backends/exporter_messages.py": "texts of torch's warnings",
    "backends/onnxruntime_runner.py": "the name of a package, and texts of the runtime",
    "cli/render.py": "names of results, and markup",
    "config/devices/cpu_info.py": "texts of /proc/cpuinfo",
    "config/devices/load_device.py": "the title of a device, and versions in stage keys",
    "config/devices/profile_schema.py": "tags of a union, which pydantic takes away",
    "config/devices/template.py": "a generated file",
    "config/pydantic_messages.py": "prefixes of pydantic, and one word of a table",
    "config/recipe.py": "the title of the JSON schema",
    "export/infer_image_text.py": "a generated file",
    "config/starter/offers.py": "YAML of a generated file",
    "config/starter/write_starter.py": "a generated file",
    "core/atomic_files.py": "a text of the operating system",
    "core/memory_errors.py": "texts of errors of libraries",
    "core/plot_style.py": "a text of matplotlib's warnings",
    "core/registry_entry.py": "the families of the registry, for developers",
    "core/text.py": "descriptions in the JSON schema",
    "data/image_text/build_answers.py": "a prompt of the data",
    "data/sources/image_text/draw_question.py": "texts of the data",
    "data/sources/image_text/image_questions.py": "an example of a table",
    "data/audio/decode_audio.py": "copied into infer.py",
    "data/decode_image.py": "copied into infer.py",
    "data/sources/audio/manifest.py": "keys of a recipe and of a row",
    "data/sources/image_text/image_captions.py": "keys of a recipe and of a row",
    "data/sources/image_text/image_lines.py": "keys of a recipe and of a row",
    "data/sources/text/rows.py": "keys of a recipe and of a row",
    "data/sources/segmentation/mask_listing.py": "folders of a layout",
    "data/sources/text/python_library.py": "names of modules",
    "dataset_distillation/base.py": "an error for developers",
    "distill/prompts/filters/base.py": "an error for developers",
    "distill/prompts/writers/base.py": "errors for developers",
    "distill/rewards/base.py": "an error for developers",
    "distill/teachers/external.py": "the name of a teacher in the record",
    "distill/teachers/self_teachers.py": "the name of a teacher in the record",
    "distill/teachers/settings.py": "an error for developers",
    "export/example_figure.py": "places of matplotlib",
    "export/decoder_script.py": "a generated file",
    "export/infer_audio.py": "a generated file",
    "export/converted_script.py": "a generated file",
    "export/infer_script.py": "a generated file",
    "export/respond_script.py": "a generated file",
    "export/written_speech_script.py": "a generated file",
    "data/text/augmentation/replacement.py": "a list of words",
    "export/infer_text.py": "a generated file",
    "export/licences.py": "a generated file",
    "export/manifest.py": "a generated file",
    "export/parity.py": "names of forms of a network",
    "export/parity_chain.py": "the name of a form of a network",
    "export/tensorrt_build_script.py": "a generated file",
    "models/factory.py": "a version in a stage key",
    "models/sources/torchvision_detection.py": "a docstring that is made",
    "models/sources/torchvision_two_stage.py": "a docstring that is made",
    "pipeline/card/bill_of_materials.py": "a generated file",
    "pipeline/card/contents.py": "parts of generated files",
    "pipeline/card/model_card.py": "a generated file",
    "pipeline/network_plan.py": "a type",
    "pipeline/publish.py": "markup",
    "pipeline/record_schema.py": "the title of the JSON schema",
    "pipeline/report/charts/bars.py": "classes of the style sheet",
    "pipeline/report/charts/scatter.py": "classes of the style sheet",
    "pipeline/report/charts/svg.py": "markup",
    "pipeline/report/figures/overview.py": "classes of the style sheet",
    "pipeline/report/front_page.py": "texts of older records, which code compares",
    "pipeline/report/html.py": "the content security policy",
    "pipeline/review/budget_file.py": "names of keys",
    "pipeline/review/gate_formats.py": "markup",
    "pipeline/review/judge_record.py": "a text of older records, which code compares",
    "pipeline/review/run_index.py": "statements of SQL, and results in the index",
    "pipeline/tracking/mlflow_tracker.py": "names in the tracker",
    "pipeline/tracking/trackers.py": "the name of a thread",
    "profile/phone/benchmark_tools.py": "texts and options of the programs",
    "profile/phone/phone_state.py": "a script, and names of properties",
    "profile/phone/session.py": "texts of adb",
    "profile/remote/detected_profile.py": "a generated file",
    "profile/cost_model/roofline_peaks.py": "a source in a device profile",
    "profile/device_check.py": "a command",
    "profile/latency/soak_report.py": "labels of curves in the record",
    "profile/layers/ort_profile.py": "texts of the runtime",
    "profile/remote/agent_bootstrap.py": "runs on the device, without catalogues",
    "profile/remote/agent_sensors.py": "runs on the device, without catalogues",
    "profile/remote/agent_server.py": "runs on the device, without catalogues",
    "profile/remote/agent_worker.py": "runs on the device, without catalogues",
    "profile/remote/agent_zip.py": "a program",
    "profile/remote/ssh.py": "texts of ssh, and kinds of errors of the agent",
    "profile/remote/trtexec.py": "runs on the device, without catalogues",
    "prune/sensitivity.py": "a place of matplotlib",
    "prune/structured/tolerant_graph.py": "a text of Python's warnings",
    "prune/unstructured/lottery_ticket.py": "the label of a checkpoint",
    "substitute/loop.py": "names of steps in a figure",
    "tasks/audio/infer_codes.py": "copied into infer.py",
    "tasks/audio/voice_activity.py": "a generated file",
    "tasks/defect_task.py": "a generated file",
    "tasks/infer_defects.py": "copied into infer.py",
    "tasks/infer_detection.py": "copied into infer.py",
    "tasks/text/infer_text.py": "copied into infer.py",
    "train/loss_term.py": "an error for developers",
    "train/teachers/base.py": "an error for developers",
    "verify/machines.py": "a command, features and names of processors",
    "verify/setup.py": "a program",
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
        if texts := list(catalogue.outside_of_catalogue(path, known)):
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
