from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from compress.core.errors import ModelError
from compress.core.sentences import render
from compress.models.read_weights import find_state_dict, first_few, own_entries, read_file, to_float32

NAMES = ("0.weight", "0.bias")
FILE = Path("w.pth")


def weights(value: float = 1.0, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": torch.full((2,), value) for name in NAMES}


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "_orig_mod.", "net.", "backbone.", "model.net.", "pl_module.body.0."]
)
def test_names_lose_the_prefix_of_wrappers(prefix):
    own, notes = own_entries(weights(2.0, prefix) | {"loss.scale": torch.ones(1)}, NAMES, FILE)
    assert {name: float(own[name][0]) for name in NAMES} == dict.fromkeys(NAMES, 2.0)
    assert ("loss.scale" in render(notes[0])) if prefix else (notes == [] and "loss.scale" in own)


def test_of_two_networks_the_one_under_a_usual_prefix_is_read_and_the_other_is_listed():
    own, notes = own_entries(weights(1.0, "model.") | weights(2.0, "averaged."), NAMES, FILE)
    assert float(own["0.bias"][0]) == 1.0
    assert render(notes[0]) == (
        "2 entries of w.pth outside `model.` belong to other modules and are not used: averaged.0.weight, averaged.0.bias"
    )


def test_two_networks_without_a_usual_prefix_are_refused_and_either_can_be_named():
    state = weights(1.0, "student.body.") | weights(2.0, "teacher.body.")
    with pytest.raises(ModelError, match=r"several networks .* student\.body, teacher\.body; set weights"):
        own_entries(state, NAMES, FILE)
    found, _ = find_state_dict({"state_dict": state}, "teacher.body", FILE)
    assert float(found["0.weight"][0]) == 2.0


def test_densenet_files_of_torchvision_have_an_older_spelling():
    own, _ = own_entries({"a.denselayer1.norm.1.weight": torch.ones(1)}, ("a.denselayer1.norm1.weight",), FILE)
    assert own.keys() == {"a.denselayer1.norm1.weight"}


@pytest.mark.parametrize(
    "entries",
    ["state_dict", "model", "ema", "state_dict_ema", "model_state_dict", "module", "params", "model.state_dict", "ema.module"],
)
def test_a_state_dict_is_found_under_the_entries_of_training_scripts(entries):
    content: object = weights()
    for entry in reversed(entries.split(".")):
        content = {entry: content, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    state, _ = find_state_dict(content, None, FILE)
    assert state.keys() == set(NAMES)


def test_an_entry_without_tensors_is_not_taken_for_a_state_dict():
    state, _ = find_state_dict({"model": {"width": 3}, "ema": weights()}, None, FILE)
    assert state.keys() == set(NAMES)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions_become_float32_with_a_note(dtype):
    state = {key: value.to(getattr(torch, dtype)) for key, value in weights(0.5).items()} | {"steps": torch.tensor(3)}
    expected = weights() | {"steps": torch.tensor(0)}
    converted, notes = to_float32(state, expected, FILE)
    assert [converted[key].dtype for key in (*NAMES, "steps")] == [torch.float32, torch.float32, torch.int64]
    assert [render(note) for note in notes] == [f"2 tensors of w.pth were converted from {dtype} to float32"]
    assert to_float32(weights(), expected, FILE)[1] == []


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.float8_e4m3fn])
def test_weights_that_are_no_plain_floats_are_refused(dtype):
    with pytest.raises(ModelError, match=r"1 weights that are no plain floats \(0\.bias \("):
        to_float32(weights() | {"0.bias": torch.ones(2).to(dtype)}, weights(), FILE)


def test_what_lightning_and_training_scripts_keep_beside_the_weights_is_read(tmp_path):
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": weights(3.0, "model."),
        "hyper_parameters": {"lr": 1e-3, "args": argparse.Namespace(data=tmp_path, layers=[1, 2])},
        "best_acc1": np.float64(71.5),
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-3}]}],
    }
    torch.save(content, tmp_path / "last.ckpt")
    state, _ = find_state_dict(read_file(tmp_path / "last.ckpt"), None, FILE)
    assert float(own_entries(state, NAMES, FILE)[0]["0.weight"][0]) == 3.0


def test_a_checkpoint_of_ultralytics_is_refused_in_one_sentence(tmp_path, monkeypatch):
    module = types.ModuleType("ultralytics.nn.tasks")
    kind = type("DetectionModel", (nn.Linear,), {"__module__": "ultralytics.nn.tasks"})
    module.DetectionModel = kind  # type: ignore[attr-defined]
    for name in ("ultralytics", "ultralytics.nn", "ultralytics.nn.tasks"):
        monkeypatch.setitem(sys.modules, name, module)
    torch.save({"model": kind(2, 2), "train_args": {"imgsz": 640}}, tmp_path / "best.pt")
    with pytest.raises(ModelError) as caught:
        read_file(tmp_path / "best.pt")
    message = str(caught.value)
    assert "it holds a pickled ultralytics.nn.tasks.DetectionModel" in message
    assert "torch.save(YOLO(PATH).model.float().state_dict(), NEW_PATH)" in message
    assert ". " not in message.removeprefix(str(tmp_path))


def test_a_whole_module_is_refused_by_its_class(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"a pickled torch\.nn\.modules\.linear\.Linear, .*state_dict\(\), NEW_PATH"):
        read_file(tmp_path / "w.pth")


def test_safetensors_and_torch_files_hold_the_same(tmp_path):
    save_file(weights(), tmp_path / "w.safetensors")
    torch.save(weights(), tmp_path / "w.pt")
    first, second = (find_state_dict(read_file(tmp_path / name), None, FILE)[0] for name in ("w.safetensors", "w.pt"))
    assert all(torch.equal(first[name], second[name]) for name in NAMES)


def test_long_lists_are_cut():
    assert first_few(map(str, range(6))) == "0, 1, 2, 3 and 2 more"
    assert first_few(["a"]) == "a"
