from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.core.atomic_files import sha256
from compress.core.errors import ModelError, TrustError
from compress.core.network_spec import NetworkSpec
from compress.core.sentences import render
from compress.models.factory import BuiltModel, build_model, model_fingerprint
from compress.models.settings import ModelSettings

MakeSpec = Callable[..., NetworkSpec]


def built(
    source: str, spec: NetworkSpec, *, seed: int = 0, base: Path = Path(), trust: bool = False, **fields: object
) -> BuiltModel:
    settings = ModelSettings.model_validate({"source": source, **fields})
    return build_model(settings, spec, seed=seed, base=base, trust_code=trust)


def same(left: nn.Module, right: nn.Module) -> bool:
    a, b = left.state_dict(), right.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_equal_seeds_give_equal_weights_and_the_global_random_state_stays(make_spec: MakeSpec) -> None:
    before = torch.get_rng_state()
    first = built("torchvision:squeezenet1_1", make_spec(), seed=1)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert same(first.module, built("torchvision:squeezenet1_1", make_spec(), seed=1).module)
    assert not same(first.module, built("torchvision:squeezenet1_1", make_spec(), seed=2).module)


def test_the_network_comes_in_eval_mode_and_answers_for_the_data(make_spec: MakeSpec) -> None:
    module = built("torchvision:mobilenet_v2", make_spec(classes=7)).module
    assert not any(child.training for child in module.modules())
    assert module(torch.rand(3, 3, 32, 32)).shape == (3, 7)


def test_arguments_reach_the_constructor(make_spec: MakeSpec) -> None:
    thin = built("torchvision:mobilenet_v2", make_spec(), args={"width_mult": 0.25}).module
    assert thin.features[0][0].out_channels == 8


def test_an_unknown_argument_is_named(make_spec: MakeSpec) -> None:
    with pytest.raises(ModelError, match="widht_mult"):
        built("torchvision:mobilenet_v2", make_spec(), args={"widht_mult": 0.25})


def test_the_smallest_size_that_works_is_named_and_works(make_spec: MakeSpec) -> None:
    with pytest.raises(ModelError, match="too small for it; it works from 63 pixels"):
        built("torchvision:alexnet", make_spec(size=40))
    assert built("torchvision:alexnet", make_spec(size=63)).module(torch.rand(2, 3, 63, 63)).shape == (2, 10)


def test_num_classes_in_args_builds_that_head_and_then_replaces_it(make_spec: MakeSpec) -> None:
    outcome = built("torchvision:squeezenet1_1", make_spec(classes=4), args={"num_classes": 1000})
    assert any("1000 → 4" in render(note) for note in outcome.notes)
    assert outcome.module(torch.rand(2, 3, 32, 32)).shape == (2, 4)


CODE = """
from torch import nn

def net(num_classes, in_channels, width=8):
    return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))

def five():
    return net(5, 3)

def wrong():
    return "a string"

def image():
    return nn.Conv2d(3, 10, 3)

class Pairs(nn.Module):
    def forward(self, x):
        return x.unflatten(0, (-1, 2)).flatten(0, 1).mean((2, 3)).repeat(1, 4)[:, :10]

def pairs():
    return Pairs()
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def test_user_code_runs_only_when_trusted(code: Path, make_spec: MakeSpec) -> None:
    with pytest.raises(TrustError, match="--trust-code"):
        built("python:net.py:net", make_spec(), base=code)


def test_user_code_is_given_classes_and_channels(code: Path, make_spec: MakeSpec) -> None:
    module = built("python:net.py:net", make_spec(classes=3, channels=1), base=code, trust=True, args={"width": 4}).module
    assert module(torch.rand(2, 1, 32, 32)).shape == (2, 3)
    assert module[0].out_channels == 4


def test_user_code_with_another_number_of_classes_is_a_mismatch_that_args_can_mend(code: Path, make_spec: MakeSpec) -> None:
    with pytest.raises(ModelError, match=r"class-count mismatch.*5 classes, the data has 10"):
        built("python:net.py:five", make_spec(), base=code, trust=True)


def test_user_code_that_gives_no_classifier_is_refused(code: Path, make_spec: MakeSpec) -> None:
    with pytest.raises(ModelError, match=r"must return a torch\.nn\.Module, it returned str"):
        built("python:net.py:wrong", make_spec(), base=code, trust=True)
    with pytest.raises(ModelError, match=r"must give one tensor \(2, 10\)"):
        built("python:net.py:image", make_spec(), base=code, trust=True)
    with pytest.raises(ModelError, match="cannot be called with"):
        built("python:net.py:net", make_spec(), base=code, trust=True, args={"depth": 3})
    with pytest.raises(ModelError, match="accepts two samples but not one"):
        built("python:net.py:pairs", make_spec(), base=code, trust=True)


def test_the_fingerprint_follows_the_file_and_not_its_path(tmp_path: Path) -> None:
    for name, text in (("a.py", "x = 1"), ("b.py", "x = 1"), ("c.py", "x = 2")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    a, b, c = (model_fingerprint(ModelSettings(source=f"python:{name}.py:f"), tmp_path) for name in "abc")
    assert a == b != c
    weights = ModelSettings(source="file:a.py", architecture="python:c.py:f")
    assert model_fingerprint(weights, tmp_path) == {"weights": sha256(tmp_path / "a.py"), **c}


def test_the_fingerprint_of_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no file .*gone\.pt"):
        model_fingerprint(ModelSettings(source="file:gone.pt", architecture="torchvision:resnet18"), tmp_path)


def test_fingerprints_are_taken_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from compress.models.factory import model_fingerprint; "
        "from compress.models.settings import ModelSettings; "
        "model_fingerprint(ModelSettings(source='torchvision:resnet18', weights='DEFAULT'), Path('.')); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no such file here")
def test_a_file_that_cannot_be_read_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="cannot read"):
        model_fingerprint(ModelSettings(source="file:/proc/self/mem", architecture="torchvision:resnet18"), tmp_path)
