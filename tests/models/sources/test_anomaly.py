import pytest
import torch
from torchvision.models import resnet18

from compress.core.errors import ModelError
from compress.core.network_spec import image_spec
from compress.models.factory import build_model, model_fingerprint
from compress.models.settings import ModelSettings
from compress.tasks.anomaly import Anomaly

TASK = Anomaly()
SPEC = TASK.complete_spec(image_spec(channels=1, height=32, width=32, mean=(0.5,), std=(0.2,), classes=("good", "defect")))


def build(base, **args):
    settings = ModelSettings(source="anomaly:small", args=args)
    return build_model(settings, SPEC, task=TASK, seed=0, base=base).module


def test_it_fits_the_data(tmp_path):
    network = build(tmp_path, width=2, reference_width=3, students=2, strides=[2, 8])
    score, heat = network(torch.rand(2, 1, 32, 32))
    assert (score.shape, heat.shape) == ((2,), (2, 16, 16))
    assert len(network.students) == 2


def test_the_reference_is_a_network_of_any_source_with_its_weights(tmp_path):
    torch.manual_seed(3)
    trained = resnet18(num_classes=7)
    torch.save(trained.state_dict(), tmp_path / "weights.pth")
    reference = {"source": "file:weights.pth", "architecture": "torchvision:resnet18", "args": {"num_classes": 7}}
    network = build(tmp_path, reference=reference, width=2, strides=[4, 8])
    own = network.reference.network.parts[0]
    assert torch.equal(own[4][0].conv1.weight, trained.layer1[0].conv1.weight)
    assert own[0].in_channels == 1
    assert not any(parameter.requires_grad for parameter in network.reference.parameters())
    settings = ModelSettings(source="anomaly:small", args={"reference": reference})
    assert model_fingerprint(settings, tmp_path)["reference"]["weights"]
    fresh = settings.without_weights()
    assert fresh.reference == ModelSettings(source="torchvision:resnet18", args={"num_classes": 7})


def test_what_it_cannot_build_is_refused(tmp_path):
    with pytest.raises(ModelError, match="there is no anomaly network 'smal'"):
        build_model(ModelSettings(source="anomaly:smal"), SPEC, task=TASK, seed=0, base=tmp_path)
    with pytest.raises(ModelError, match=r"args.wide: .*it takes reference, reference_width, width, students, strides"):
        build(tmp_path, wide=3)
    for strides in ([3], [8, 4], [4, 4], [128]):
        with pytest.raises(ModelError, match="powers of 2 from 2 to 64, ascending"):
            build(tmp_path, strides=strides)
    with pytest.raises(ModelError, match="cannot be the reference of an anomaly network"):
        build(tmp_path, reference={"source": "torchvision:vit_b_16", "args": {"patch_size": 16}})
