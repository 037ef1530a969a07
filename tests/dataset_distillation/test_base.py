import pytest
import torch

from compress.data.sources.distilled_set import read
from tests.dataset_distillation.runs import QUICK, candidate, stage


@pytest.mark.parametrize("name", QUICK)
def test_every_method_makes_a_whole_set_and_passes_the_network_on(context, name):
    original = candidate()
    outcome = stage(name).run(original, context)
    result = read(context.folder)
    assert outcome.candidate is original
    assert outcome.training_set == context.folder / "distilled.safetensors"
    assert result.images.shape == (12, 3, 8, 8)
    assert result.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.allclose(result.soft.sum(1), torch.ones(12), atol=1e-5)
    assert torch.allclose(result.soft, context.teachers[0].network()(result.images).softmax(1), atol=1e-5)
    assert result.about.method == name
    assert result.about.fingerprint == context.data.train.fingerprint
    assert outcome.results["images"].value == 12
    assert 0 <= outcome.results["teacher_agreement"].value <= 1
    assert len(list((context.folder / "images").glob("*/*.png"))) == 12
    assert not list(context.folder.glob("*.pt"))
    if name not in ("random", "herding"):
        assert len(outcome.curves["matching_loss"].y) == QUICK[name]["iterations"]
