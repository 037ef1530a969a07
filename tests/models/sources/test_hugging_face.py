from __future__ import annotations

import json
import shutil
import time

import pytest
import torch

from compress.backends.export_onnx import export_onnx
from compress.core.errors import MissingPackageError, ModelError
from compress.core.sentences import render
from compress.models import hugging_face_config
from compress.models.checkpoint import load as load_checkpoint
from compress.models.checkpoint import save
from compress.models.count_macs import count_network
from compress.models.factory import build_model, model_fingerprint
from compress.models.hugging_face_config import spec_of
from compress.models.saved_network import WEIGHTS, load, portable_architecture, write_description
from compress.models.settings import ModelSettings
from compress.prune.base import Constraints
from compress.prune.criteria import magnitude
from compress.prune.structured.channels import ChannelPruner
from tests.models.hugging_face_folders import IMAGES, TEXTS, make_folder

pytest.importorskip("transformers")


def built(folder, spec, **fields):
    return build_model(ModelSettings(source=f"hf:{folder}", **fields), spec, seed=0, base=folder.parent)


@pytest.mark.parametrize("kind", IMAGES)
def test_image_classifiers_come_from_their_folder_with_plain_tensors(kind, tmp_path, make_spec):
    source = make_folder(kind, tmp_path / "net")
    network = built(tmp_path / "net", make_spec())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.module(images), source(pixel_values=images).logits)
    assert network.notes == ()


def test_heads_channels_and_half_precision_are_fitted_and_noted(tmp_path, make_spec):
    source = make_folder("vit", tmp_path / "net", half=True)
    network = built(tmp_path / "net", make_spec(classes=4, channels=1))
    assert network.module(torch.rand(2, 1, 32, 32)).shape == (2, 4)
    assert {parameter.dtype for parameter in network.module.parameters()} == {torch.float32}
    notes = " ".join(map(render, network.notes))
    for part in ("10 → 4", "3 → 1", "converted from float16 to float32"):
        assert part in notes
    kept = "vit.layernorm.weight"
    torch.testing.assert_close(network.module.state_dict()[f"network.{kept}"], source.state_dict()[kept])


def test_another_image_size_is_refused_with_weights_and_taken_without(tmp_path, make_spec):
    make_folder("vit", tmp_path / "net")
    with pytest.raises(ModelError, match=r"images of 32×32 pixels, the data has 48×48; set data\.image_size"):
        built(tmp_path / "net", make_spec(size=48))
    assert built(tmp_path / "net", make_spec(size=48), weights="fresh").module(torch.rand(1, 3, 48, 48)).shape == (1, 10)


@pytest.mark.parametrize("kind", [kind if kind == "bert" else pytest.param(kind, marks=pytest.mark.slow) for kind in TEXTS])
def test_text_classifiers_have_a_free_axis_of_tokens_and_export(kind, tmp_path):
    import onnxruntime

    source = make_folder(kind, tmp_path / "net", classes=3)
    spec = spec_of("net", base=tmp_path)
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if kind == "bert" else [])]
    assert [each.name for each in spec.signature.inputs] == names
    assert spec.signature.sizes["sequence"] == (1, 24, 24)
    assert spec.classes == ("label0", "label1", "label2")
    network = built(tmp_path / "net", spec).module
    export_onnx(network, spec, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch, length in ((1, 24), (3, 7)):
        inputs = spec.signature.example(batch, sizes={"sequence": length})
        inputs["attention_mask"][0, length // 2 :] = 0
        with torch.no_grad():
            expected = source(**inputs).logits
        (outputs,) = session.run(None, {name: values.numpy() for name, values in inputs.items()})
        torch.testing.assert_close(torch.from_numpy(outputs), expected, atol=1e-4, rtol=1e-3)


def test_a_saved_network_needs_its_folder_no_more(tmp_path, make_spec):
    make_folder("convnext", tmp_path / "net")
    settings, saved = ModelSettings(source="hf:net"), tmp_path / "saved"
    network = build_model(settings, make_spec(), seed=0, base=tmp_path).module
    saved.mkdir()
    save(network, network, saved / WEIGHTS)
    architecture = portable_architecture(settings, tmp_path)
    write_description(network, saved, make_spec(), architecture=architecture, task="classification")
    shutil.rmtree(tmp_path / "net")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(load(saved)(images), network(images))


def test_missing_weights_are_listed_and_nothing_but_safetensors_is_read(tmp_path, make_spec):
    from safetensors.torch import load_file, save_file

    make_folder("vit", tmp_path / "net")
    file = tmp_path / "net" / "model.safetensors"
    state = load_file(file)
    save_file({key: value for key, value in state.items() if not key.startswith("classifier")}, file, {"format": "pt"})
    assert any(
        "2 weights" in render(note) and "classifier" in render(note) for note in built(tmp_path / "net", make_spec()).notes
    )
    save_file({key: value for key, value in state.items() if "layernorm" not in key}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks \d+ weights of its network \(vit\."):
        built(tmp_path / "net", make_spec())
    file.unlink()
    torch.save(state, tmp_path / "net" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds no model\.safetensors"):
        built(tmp_path / "net", make_spec())


def test_the_fingerprint_follows_the_files(tmp_path):
    make_folder("resnet", tmp_path / "net")
    settings = ModelSettings(source="hf:net")
    before = model_fingerprint(settings, tmp_path)
    path = tmp_path / "net" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_act": "gelu"}), encoding="utf-8")
    assert model_fingerprint(settings, tmp_path) != before


def test_without_the_package_the_install_line_is_said(tmp_path, make_spec, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingPackageError, match=r"compress\[hf\]"):
        built(tmp_path / "net", make_spec())


def test_a_vision_transformer_loses_channels_and_comes_back(tmp_path, make_spec):
    make_folder("vit", tmp_path / "net")
    spec = make_spec()
    reference = built(tmp_path / "net", spec, weights="fresh").module
    network = built(tmp_path / "net", spec).module
    limits = Constraints(round_to=4, protect=("*classifier", "*projection"))
    pruned = (
        ChannelPruner(network, spec, measure="macs", ranking="global", limits=limits).prune(network, 0.7, magnitude()).module
    )
    assert count_network(pruned, spec).macs <= 0.7 * count_network(network, spec).macs
    save(pruned, reference, tmp_path / "small.safetensors")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_checkpoint(tmp_path / "small.safetensors", reference)(images), pruned(images))


def test_a_name_on_the_hub_is_refused_at_once_without_a_network(tmp_path, monkeypatch, make_spec):
    import socket

    def refuse(*_: object, **__: object) -> None:
        message = "no network"
        raise OSError(message)

    hugging_face_config._is_hub_reachable.cache_clear()
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    start = time.monotonic()
    with pytest.raises(ModelError, match=r"the hub gives no 'maker/network' .*; without a network, give a folder"):
        build_model(ModelSettings(source="hf:maker/network"), make_spec(), seed=0, base=tmp_path)
    assert time.monotonic() - start < 20.0
    hugging_face_config._is_hub_reachable.cache_clear()
