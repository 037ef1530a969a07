"""What a stage leaves is what the next one loads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.fact import Fact
from compress.core.record import StageRecord
from compress.core.stage import Candidate
from compress.models.saved_network import DESCRIPTION, PROGRAM, WEIGHTS, load, read_description
from compress.models.settings import ModelSettings
from compress.pipeline.stage_output import (
    MANIFEST,
    SCORES,
    PendingStage,
    Reference,
    StageOutput,
    read_manifest,
    save_output,
    save_scores,
)
from tests.train.toy_training import conv_net, toy_data

SPEC = toy_data().spec


def finished(
    folder: Path, candidate: Candidate, previous: StageOutput | None = None, *, unchanged: bool = False
) -> StageOutput:
    """A stage that left this candidate in a folder of its own."""
    folder.mkdir(exist_ok=True)
    save_output(candidate, folder, conv_net, unchanged=unchanged)
    record = StageRecord(
        index=0, name=folder.name, key=f"key of {folder.name}", parent_key="", form=candidate.form, parameters={}, before={},
        after={}, seed=0, versions={}, started="x", wall_time_s=0.0,
    )  # fmt: skip
    return StageOutput(record, folder, conv_net, previous)


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == name_too and torch.equal(weight, same) for (name, weight), (name_too, same) in pairs)


@pytest.mark.parametrize("sparse", [False, True])
def test_weights_come_back_bit_for_bit_in_a_network_of_other_weights(tmp_path, sparse):
    network = conv_net(5)
    if sparse:
        with torch.no_grad():
            network[0].weight.zero_()
            network[-1].weight.zero_()
    output = finished(tmp_path / "train", Candidate(SPEC, network))
    assert not equal(network, conv_net())
    loaded = output.candidate()
    assert equal(loaded.network(), network)
    assert (loaded.spec, loaded.lineage) == (SPEC, ("key of train",))


def test_files_come_back_by_runtime_and_the_float_network_is_that_of_the_last_torch_stage(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "model.onnx").write_bytes(b"float")
    train = finished(tmp_path / "train", Candidate(SPEC, conv_net(5)))
    folder = tmp_path / "quantize"
    folder.mkdir()
    files = {"onnxruntime": folder / "int8.onnx", "openvino": folder / "ov" / "int8.onnx"}
    quantize = finished(folder, Candidate(SPEC, files=files, runtimes={"host": "openvino"}), train)
    candidate = quantize.candidate()
    assert (candidate.module, dict(candidate.files), candidate.artifact) == (None, files, ("openvino", files["openvino"]))
    assert candidate.lineage == ("key of train", "key of quantize")
    assert quantize.onnx() == files["onnxruntime"]
    assert quantize.float_onnx() == train.onnx() == tmp_path / "train" / "model.onnx"
    assert equal(quantize.float_network(), conv_net(5))


def test_a_stage_that_changed_nothing_has_the_files_and_scores_of_the_one_before(tmp_path):
    train = finished(tmp_path / "train", Candidate(SPEC, conv_net(5)))
    scores = np.array([1.0, 0.0, 1.0])
    save_scores(scores, train.folder)
    profile = finished(tmp_path / "profile", train.candidate(), train, unchanged=True)
    assert sorted(path.name for path in profile.folder.iterdir()) == [MANIFEST]
    assert profile.origin is train
    assert equal(profile.candidate().network(), conv_net(5))
    loaded = profile.scores()
    assert loaded is not None
    assert np.array_equal(loaded, scores)


def test_any_torch_network_leaves_a_description_and_one_of_another_structure_also_a_program(tmp_path):
    train = finished(tmp_path / "train", Candidate(SPEC, conv_net(5)))
    assert sorted(path.name for path in train.folder.iterdir()) == [MANIFEST, WEIGHTS, DESCRIPTION]
    pruned = finished(tmp_path / "prune", Candidate(SPEC, conv_net(5, width=4)), train)
    assert {path.name for path in pruned.folder.iterdir()} == {MANIFEST, WEIGHTS, DESCRIPTION, PROGRAM}
    images = torch.randn(3, *SPEC.shape)
    program = torch.export.load(pruned.folder / PROGRAM).module()
    with torch.no_grad():
        expected = conv_net(5, width=4)(images)
        torch.testing.assert_close(program(images), expected)
        assert torch.equal(load(pruned.folder, reference=conv_net())(images), expected)


def test_the_description_says_where_the_network_is_from(tmp_path):
    settings = ModelSettings(source="torchvision:resnet18", args={"num_classes": 3})
    save_output(Candidate(SPEC, conv_net()), tmp_path, Reference(conv_net, settings, "other"), unchanged=False)
    description = read_description(tmp_path)
    assert (description.architecture, description.task, description.spec) == (settings, "other", SPEC)


def test_the_last_torch_network_is_in_the_folder_of_its_origin(tmp_path):
    train = finished(tmp_path / "train", Candidate(SPEC, conv_net(5)))
    profile = finished(tmp_path / "profile", train.candidate(), train, unchanged=True)
    (tmp_path / "quantize").mkdir()
    files = {"onnxruntime": tmp_path / "quantize" / "int8.onnx"}
    quantize = finished(tmp_path / "quantize", Candidate(SPEC, files=files), profile)
    assert quantize.torch_folder() == profile.torch_folder() == train.folder


def test_scores_that_hold_code_are_not_loaded(tmp_path):
    train = finished(tmp_path / "train", Candidate(SPEC, conv_net()))
    assert train.scores() is None
    np.save(train.folder / SCORES, np.array([{"any": "object"}]), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        train.scores()


def test_a_training_set_serves_all_later_stages(tmp_path):
    folder = tmp_path / "distilled"
    folder.mkdir()
    save_output(Candidate(SPEC, conv_net()), folder, conv_net, unchanged=False, training_set=folder / "set.safetensors")
    first = StageOutput(NotImplemented, folder, conv_net)
    later = finished(tmp_path / "train", Candidate(SPEC, conv_net(5)), first)
    assert later.training_set() == first.training_set() == folder / "set.safetensors"
    assert finished(tmp_path / "alone", Candidate(SPEC, conv_net())).training_set() is None


def test_a_chain_that_begins_with_nothing_is_refused(tmp_path):
    lost = finished(tmp_path / "profile", Candidate(SPEC, conv_net()), unchanged=True)
    with pytest.raises(ValueError, match="before the start"):
        _ = lost.origin
    assert read_manifest(lost.folder)["same"] is True


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"batch_size": 64}, "lower its batch_size, now 64,"),
        ({"network": {}, "train": {"batch_size": 32}}, "lower its batch_size, now 32,"),
        ({"network": {}, "train": None}, "lower batch_size in the part of it that trains,"),
    ],
)
def test_out_of_memory_is_answered_with_the_stages_own_batch_size(parameters, words):
    pending = PendingStage(1, "train", "key", parameters, NotImplemented, NotImplemented, NotImplemented)
    assert pending.memory_advice.startswith(words)


def test_only_a_frozen_branch_stands_at_the_head_of_the_report():
    notes = [Fact.of("backends.branch_frozen", "gate"), Fact.of("text", text="opset 20")]
    pending = PendingStage(1, "train", "key", {}, NotImplemented, NotImplemented, NotImplemented, export_notes=notes)
    assert pending.export_warnings == (notes[0],)
    assert pending.before == {}
