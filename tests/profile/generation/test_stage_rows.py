"""Speed of generation in the profile stage: for tasks that write texts, on this machine, and why not otherwise."""

import dataclasses

import onnx
import pytest

from compress.config.devices import load_device
from compress.core.stage import Context
from compress.profile.generation.stage_rows import generation_rows
from compress.profile.stage import Profile
from compress.tasks.classification import Classification
from tests.export.decoder_artifacts import TASK, text_data

HOST = load_device("host")


@pytest.fixture
def context(tmp_path):
    return Context(data=text_data(), task=TASK, folder=tmp_path, cache=tmp_path)


def test_files_with_a_layout_are_measured_and_others_named(context, language_artifact, tmp_path):
    path = language_artifact[1].files["onnxruntime"]
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    rows, facts = generation_rows({"teacher": tmp_path / "bare.onnx", "artifact": path}, HOST, context, (4,), 1)
    assert [row["subject"] for row in rows] == ["artifact"]
    assert [(fact.code, fact.subject) for fact in facts] == [("profile.no_generation", "teacher")]


def test_nothing_is_measured_for_other_tasks_and_devices(context, language_artifact):
    files = {"artifact": language_artifact[1].files["onnxruntime"]}
    assert generation_rows(files, HOST, context, (), 1) == ((), ())
    assert generation_rows(files, load_device("mobile_cpu"), context, (4,), 1) == ((), ())
    other = dataclasses.replace(context, task=Classification())
    assert generation_rows(files, HOST, other, (4,), 1) == ((), ())


def test_contexts_of_ones_own_need_a_task_that_writes_texts():
    assert Profile().requirements == {}
    assert Profile(contexts=(32,)).requirements == {"contexts": ("writes_text",)}
    assert Profile().smoke().contexts == (64,)
