from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from compress import Export, Pipeline, Prune, Substitute
from compress.config.devices import load_device
from compress.models.checkpoint import load, save
from tests.substitute.runs import ALL, kinds, run


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"activations": "none", "squeeze_excite": "keep", "depthwise": "keep"}, "nothing is to be replaced"),
        ({"activations": {}, "squeeze_excite": "keep", "depthwise": "keep"}, "nothing is to be replaced"),
        ({"kernel": "crop", "depthwise": "keep"}, "depthwise is 'keep'; leave one of them out"),
        ({"activations": "relu7"}, "'auto', 'relu6', 'relu' or 'none'"),
        ({"activations": {"mish": "relu"}}, "Extra inputs are not permitted"),
        ({"depthwise": "5x5"}, "'auto', '3x3' or 'keep'"),
        ({"images": 1}, "greater than or equal to 2"),
        ({"worth": 0.0}, "greater than 0"),
    ],
)
def test_settings_without_effect_are_refused(fields, told):
    with pytest.raises(ValidationError, match=told):
        Substitute(**fields)


def test_each_activation_can_be_chosen_by_itself(candidate, context):
    result = run(
        candidate, context, activations={"hardswish": "relu", "silu": "relu6"}, squeeze_excite="keep", depthwise="keep"
    )
    assert kinds(result.candidate.module).count("ReLU") == 1
    assert kinds(result.candidate.module).count("ReLU6") == 1
    assert kinds(result.candidate.module).count("GELU") == 1


def test_the_new_network_is_loaded_from_data_alone(candidate, context, tmp_path):
    module = run(candidate, context).candidate.module
    fresh = type(candidate.module)()
    save(module, fresh, tmp_path / "m.safetensors")
    back = load(tmp_path / "m.safetensors", fresh)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(back(x), module(x))
    assert kinds(back) == kinds(module)
    assert "Hardswish" in kinds(fresh)


def test_the_targets_enter_the_key_only_where_they_decide():
    targets = (load_device("mobile_cpu"),)
    assert Substitute().cache_inputs(targets)["devices"][0]["name"] == "mobile_cpu"
    assert Substitute(**ALL).cache_inputs(targets) == {}


def test_smoke_is_small():
    small = Substitute(images=512, recover={"epochs": 9}).smoke()
    assert (small.images, small.recover.epochs, small.timing_seconds) == (16, 1, 0.0)


@pytest.mark.slow
def test_pruning_and_export_follow_in_a_chain(mobile, data, tmp_path):
    data = replace(data, test=data.validation)
    stages = [
        Substitute(**{**ALL, "recover": {"epochs": 1, "batch_size": 32}}),
        Prune(target={"macs": 0.8}, round_to=1, schedule={"kind": "one_shot"}, recover={"epochs": 0}, timing_seconds=0),
        Export(),
    ]
    pipeline = Pipeline("adapted", model=mobile, data=data, stages=stages)
    first = pipeline.run(out=tmp_path)
    adapted, pruned, _ = first.record.stages
    assert pruned.after["macs"].value <= 0.8 * adapted.after["macs"].value
    assert adapted.after["parameters"].value < first.record.start["parameters"].value
    again = Pipeline("adapted", model=mobile, data=data, stages=stages).run(out=tmp_path)
    assert again.record == first.record
    text = (first.folder / "report.md").read_text()
    assert "validation accuracy after the replacements" in text
    assert "absorbed into block.body.7" in text
