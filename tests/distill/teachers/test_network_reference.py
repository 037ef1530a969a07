from dataclasses import replace

import pytest

from compress.core.errors import CompressError, TrustError
from compress.core.user_code_key import user_code_key
from compress.distill.stage import Distill
from tests.distill.teachers.runs import QUICK, candidate, same
from tests.train.toy_training import conv_net


def test_assistants_are_built_in_the_order_of_the_recipe(context, monkeypatch):
    built = []

    def build(source, _, seed):
        built.append(source)
        return conv_net(seed)

    monkeypatch.setattr("compress.distill.teachers.self_teachers.build_network", build)
    outcome = Distill(**QUICK, assistants=["torchvision:resnet34", "torchvision:resnet18"]).run(candidate(), context)
    assert built == ["torchvision:resnet34", "torchvision:resnet18"]
    assert outcome.results["assistant_2"].detail == "torchvision:resnet18, on validation, on the way to the student"


NETWORK = """
from torch import nn

def middle(num_classes):
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, num_classes))
"""


@pytest.mark.parametrize(
    "given", [{"assistants": ["python:mine.py:middle"]}, {"teacher": {"mutual": {"peers": ["python:mine.py:middle"]}}}]
)
def test_trusted_networks_are_assistants_and_peers(context, given):
    stage = Distill(**QUICK, **given)
    with pytest.raises(CompressError, match="no such file"):
        user_code_key(stage, context.base, trust_code=True)
    (context.base / "mine.py").write_text(NETWORK)
    with pytest.raises(TrustError, match="--trust-code"):
        stage.run(candidate(), context)
    outcome = stage.run(candidate(), replace(context, trust_code=True))
    assert not same(outcome.candidate.network(), conv_net())
    before = user_code_key(stage, context.base, trust_code=True).hashes
    (context.base / "mine.py").write_text(NETWORK + "#")
    assert before != user_code_key(stage, context.base, trust_code=True).hashes
