import json

import pytest
import torch
from torch import nn

from compress.core.sentences import render
from compress.models.saved_network import NetworkDescription
from compress.models.settings import ModelSettings
from compress.models.text.hugging_face_folder import may_be_transformers, write_folder
from compress.prune.structured import dependency_graph as groups
from compress.prune.structured.attention_heads import remove_heads
from compress.prune.structured.depth import drop_block
from compress.prune.structured.tolerant_graph import build_graph
from tests.prune.structured.text_networks import FEED_FORWARD, HIDDEN, make_text_network, padded

transformers = pytest.importorskip("transformers")


def _load(folder):
    return transformers.AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()


def _equal(folder, net, spec):
    names = [entry.name for entry in spec.signature.inputs]
    x = padded(spec)
    with torch.no_grad():
        return torch.allclose(_load(folder)(**dict(zip(names, x, strict=True))).logits, net(*x), atol=1e-5)


@pytest.mark.parametrize(("family", "entries"), [("bert", 0), ("distilbert", 0), ("mpnet", 1), ("deberta-v2", 2)])
def test_a_network_with_dropped_layers_is_an_ordinary_folder(family, entries, tmp_path):
    net, spec = make_text_network(family, tmp_path)
    layers = next(name for name, part in net.named_modules() if isinstance(part, nn.ModuleList))
    drop_block(net, f"{layers}.0", entries=entries)
    notes = write_folder(net, spec, tmp_path / "out", {"tokenizer.json": b"{}"})
    assert [note.code for note in notes] == ["models.hugging_face_folder"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config.get("num_hidden_layers", config.get("n_layers")) == 1
    assert [config["id2label"][str(index)] for index in range(3)] == list(spec.classes)
    assert _equal(tmp_path / "out", net, spec)


def test_equal_widths_in_every_layer_are_a_configuration(tmp_path):
    net, spec = make_text_network("bert", tmp_path)
    graph = build_graph(net, spec)
    inner = [group.root for group in groups.find_groups(graph, net) if group.width == FEED_FORWARD]
    groups.remove_channels(net, graph, {root: range(8) for root in inner})
    assert write_folder(net, spec, tmp_path / "out", {})[0].code == "models.hugging_face_folder"
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert (config["intermediate_size"], config["hidden_size"]) == (FEED_FORWARD - 8, HIDDEN)
    assert _equal(tmp_path / "out", net, spec)


def test_other_heads_in_one_layer_have_no_configuration(tmp_path):
    net, spec = make_text_network("bert", tmp_path)
    remove_heads(net, "network.bert.encoder.layer.1.attention", [0])
    (note,) = write_folder(net, spec, tmp_path / "out", {})
    assert note.code == "models.no_configuration"
    assert "layer.1.attention.self.query.weight has the shape (12, 16)" in render(note)
    assert not (tmp_path / "out").exists()


def test_networks_of_other_makers_have_no_folder(tmp_path, make_spec):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    assert write_folder(net, make_spec(size=8), tmp_path / "out", {}) == ()
    spec = make_spec(size=8)
    for source, expected in (("hf:some/name", True), ("torchvision:resnet18", False)):
        settings = ModelSettings(source=source)
        assert may_be_transformers(NetworkDescription(class_name="x.Y", architecture=settings, spec=spec)) is expected
    wrapped = NetworkDescription(class_name="compress.models.sources.hugging_face.SequenceClassifier", spec=spec)
    assert may_be_transformers(wrapped)
