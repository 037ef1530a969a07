import pytest
import torch
from torch import nn

from compress.core.errors import ModelError
from compress.distill.losses.attention import AttentionMaps
from compress.distill.losses.features import Direct, Embedding, Hint
from compress.distill.losses.fsp import Fsp
from compress.train.features.discover_layers import LayerCatalog
from compress.train.features.layer_maps import match_layers
from compress.train.features.matched_layers import FeatureMatcher
from compress.train.loss_term import LayerMatch
from tests.train.features.networks import INPUTS, Transformer, seeded, staged


def pairs(student, teacher, term, inputs=INPUTS):
    matcher = FeatureMatcher((term,), student, [teacher], inputs)
    return [(joint.student, joint.teacher) for joint in matcher.matched[0]]


def test_layers_are_matched_by_resolution():
    assert pairs(staged(), staged(1, (8, 8)), Hint()) == [("stage0", "stage0"), ("stage1", "stage1")]
    assert pairs(staged(widths=(4,)), staged(1, (8, 8)), Hint()) == [("stage0", "stage0")]
    result = pairs(staged(), staged(1), Hint(), torch.randn(2, 3, 10, 6))  # maps that are not square
    assert result == [("stage0", "stage0"), ("stage1", "stage1")]


def test_layers_without_a_common_resolution_and_transformers_are_matched_by_depth():
    wide = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 3))
    assert pairs(wide, staged(), Hint()) == [("0", "stage1")]
    small, large = seeded(lambda: Transformer(2)), seeded(lambda: Transformer(6, 16))
    assert pairs(small, large, Hint()) == [("blocks.0", "blocks.2"), ("blocks.1", "blocks.5")]
    assert pairs(small, large, AttentionMaps()) == [
        ("blocks.0.attention", "blocks.2.attention"),
        ("blocks.1.attention", "blocks.5.attention"),
    ]
    assert pairs(small, large, Embedding()) == [("patches", "patches")]
    assert pairs(large, small, Hint()) == [("blocks.4", "blocks.0"), ("blocks.5", "blocks.1")]


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ("resnet18", "resnet50", ["relu", "layer1", "layer2", "layer3", "layer4"]),
        ("mobilenet_v2", "resnet50", ["features.1", "features.3", "features.6", "features.13", "features"]),
    ],
)
def test_torchvisions_networks_are_matched_block_by_block(student, teacher, expected):
    from torchvision.models import get_model

    inputs = torch.zeros(1, 3, 64, 64)
    surveys = [LayerCatalog(get_model(name).eval(), inputs, who) for name, who in ((student, "student"), (teacher, "teacher"))]
    result = match_layers(*surveys, "maps")
    assert [a.hook.name for a, _ in result] == expected
    assert [b.hook.name for _, b in result] == ["relu", "layer1", "layer2", "layer3", "layer4"]


def test_layers_are_named_by_name_number_or_both():
    term = Hint(layers=["stage1", -1, {"student": "stage0.0", "teacher": 1}])
    assert pairs(staged(), staged(1), term) == [("stage1", "stage1"), ("stage1", "stage1"), ("stage0.0", "stage1")]
    assert term.layers[2] == LayerMatch(student="stage0.0", teacher=1)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (Hint(layers=["stagee1"]), r"student has no layer 'stagee1' .*did you mean 'stage1'"),
        (Hint(layers=[{"student": "stage0", "teacher": "stag0"}]), r"teacher has no layer 'stag0' .*did you mean 'stage0'"),
        (Hint(layers=[5]), r"student has no layer with index 5 .* it has 2: stage0, stage1"),
        (
            Hint(layers=[{"student": "stage0", "teacher": "head"}]),
            r"loss 'hint': no projector joins stage0 .*maps and a vector",
        ),
        (Direct(), r"loss 'direct': stage0 \(4×4×4\) from stage0 \(8×4×4\) differ in width; use `hint`"),
        (AttentionMaps(), r"student has no attention layer"),
        (Embedding(), r"student has no layer that embeds"),
        (Fsp(layers=["stage0"]), r"loss 'fsp': an FSP matrix needs two layers"),
    ],
)
def test_layers_that_do_not_exist_or_do_not_fit_are_refused(term, message):
    with pytest.raises(ModelError, match=message):
        FeatureMatcher((term,), staged(), [staged(1, (8, 8))], INPUTS)


def test_tokens_and_maps_cannot_be_matched_by_themselves():
    with pytest.raises(ModelError, match="cannot be matched automatically"):
        FeatureMatcher((Hint(),), staged(), [seeded(lambda: Transformer(2))], INPUTS)
    with pytest.raises(ModelError, match="different numbers of tokens"):
        FeatureMatcher((AttentionMaps(),), seeded(lambda: Transformer(1)), [seeded(lambda: Transformer(1, patch=2))], INPUTS)


@pytest.mark.parametrize(("convolution", "sides"), [(nn.Conv1d, (16,)), (nn.Conv3d, (4, 6, 8))])
def test_features_of_signals_and_volumes_are_matched_as_maps(convolution, sides):
    def network(width):
        first, second = convolution(2, width, 3, padding=1), convolution(width, 2 * width, 3, padding=1, stride=2)
        return nn.Sequential(first, nn.ReLU(), second, nn.Flatten(), nn.LazyLinear(3))

    inputs, student, teacher = torch.randn(2, 2, *sides), network(4), network(6)
    student(inputs), teacher(inputs)
    assert pairs(student, teacher, Hint(), inputs) == [("1", "1"), ("2", "2")]
    assert pairs(student, teacher, Hint(layers=("2",)), inputs) == [("2", "2")]
    catalog = LayerCatalog(student, inputs, "student")
    (whole, half), places = catalog.layers_of_kind("maps"), torch.Size(sides).numel()
    assert [whole.shape[0], half.shape[0]] == [4, 8]
    assert whole.shape[1] * whole.shape[2] == places
    read = catalog._read([half.hook])[0]
    assert read.shape == half.shape


def test_a_signal_without_convolutions_has_no_maps():
    recurrent = nn.LSTM(5, 8, batch_first=True)
    assert LayerCatalog(nn.Sequential(recurrent), torch.randn(2, 7, 5), "student").layers_of_kind("maps") == ()
