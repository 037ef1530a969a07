"""Samples of the test split of a recipe for networks with several inputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

pytest.importorskip("tokenizers")

from compress.core.errors import DataError
from compress.verify.cross_isa import verify
from compress.verify.inputs import load_samples
from compress.verify.recipe_inputs import recipe_samples

WORDS = ["red", "green", "blue", "one", "two", "three", "four", "five", "six", "seven"]
RECIPE = """\
name: words
task: text_classification
data:
  source: "jsonl:{rows}"
  columns: {{text: text, target: label}}
  tokenizer: {{train: wordpiece, vocabulary: 60}}
  lengths: {{typical: 8, most: 16}}
  validation: 0.2
  test: 0.4
model: {{source: "encoder:tiny", args: {{layers: 1, width: 16, heads: 2}}}}
stages: [export]
"""


def written_recipe(folder: Path) -> Path:
    random = np.random.default_rng(0)
    rows = [{"text": " ".join(random.choice(WORDS, size=2 + index % 9)), "label": ("a", "b")[index % 2]} for index in range(60)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    path = folder / "words.yaml"
    path.write_text(RECIPE.format(rows=folder / "rows.jsonl"))
    return path


def counting_network(path: Path, second: str = "attention_mask") -> Path:
    """Logits (number of tokens, sum of their numbers), in which padding counts nothing."""
    nodes = [
        helper.make_node("Mul", ["input_ids", second], ["real"]),
        helper.make_node("ReduceSum", [second, "axis"], ["length"]),
        helper.make_node("ReduceSum", ["real", "axis"], ["total"]),
        helper.make_node("Concat", ["length", "total"], ["whole"], axis=1),
        helper.make_node("Cast", ["whole"], ["logits"], to=TensorProto.FLOAT),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in ("input_ids", second)]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "g", inputs, outputs, [axis])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_samples_of_different_lengths_are_one_array_for_each_input_with_their_targets(tmp_path: Path) -> None:
    model = counting_network(tmp_path / "m.onnx")
    samples = load_samples(model, 12, recipe=str(written_recipe(tmp_path)), images=())
    assert list(samples.values) == ["input_ids", "attention_mask"]
    assert samples.size == 12
    lengths = samples.values["attention_mask"].sum(axis=1)
    assert len(set(lengths.tolist())) > 1
    assert (samples.values["input_ids"][samples.values["attention_mask"] == 0] == 0).all()
    assert "12 of" in samples.origin
    result = verify(model, samples, isa="native")
    assert result.quantities["accuracy_reference"].value == result.quantities["accuracy_tested"].value


def test_a_recipe_with_other_inputs_is_refused(tmp_path: Path) -> None:
    model = counting_network(tmp_path / "m.onnx", second="token_type_ids")
    with pytest.raises(DataError, match=r"has inputs input_ids: batch×\d+, .*token_type_ids.*--feeds"):
        recipe_samples(model, str(written_recipe(tmp_path)), 3)


def test_another_tokenizer_beside_the_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is not the tokenizer of"):
        recipe_samples(counting_network(tmp_path / "m.onnx"), str(written_recipe(tmp_path)), 3)
