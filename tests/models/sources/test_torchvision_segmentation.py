import pytest
import torch
from torchvision import models
from torchvision.models import segmentation

from compress.core.errors import ModelError
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.tasks.classification import Classification
from tests.models.sources.segmentation_spec import SPEC, TASK


def build(source, *, task=TASK, weights=None, **args):
    return build_model(
        ModelSettings(source=f"torchvision:{source}", weights=weights, args=args), SPEC, task=task, seed=0, base=None
    )


def test_a_segmentation_network_gives_a_tensor_of_the_datas_classes():
    module = build("lraspp_mobilenet_v3_large").module
    with torch.no_grad():
        assert module(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_pretrained_weights_are_loaded_without_the_auxiliary_head_and_the_head_is_replaced(monkeypatch):
    torch.manual_seed(1)
    trained = segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    monkeypatch.setattr(
        type(segmentation.DeepLabV3_MobileNet_V3_Large_Weights.DEFAULT), "get_state_dict", lambda *_, **__: trained.state_dict()
    )
    with pytest.raises(ModelError, match="has no weights 'NONE'"):
        build("deeplabv3_mobilenet_v3_large", weights="NONE")
    built = build("deeplabv3_mobilenet_v3_large", weights="DEFAULT")
    assert "models.normalised_otherwise" in {fact.code for fact in built.notes}
    weights = built.module.state_dict()
    assert torch.equal(weights["backbone.0.0.weight"], trained.state_dict()["backbone.0.0.weight"])
    assert weights["classifier.4.weight"].shape[0] == 3


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("resnet18", TASK, "torchvision:resnet18 is a network for classification, and the task is segmentation"),
        (
            "fcn_resnet50",
            Classification(),
            "torchvision:fcn_resnet50 is a network for segmentation, and the task is classification",
        ),
        ("lraspp_mobilenet_v3_larg", TASK, "did you mean 'lraspp_mobilenet_v3_large'"),
        ("fasterrcnn_resnet50_fpn", TASK, "and the task is segmentation"),
    ],
)
def test_a_network_for_another_task_is_refused(name, task, message):
    with pytest.raises(ModelError, match=message):
        build(name, task=task)


def test_arguments_that_it_does_not_take_are_refused():
    with pytest.raises(ModelError, match=r"cannot be built with .*; see model\.args"):
        build("fcn_resnet50", num_classes="x")


def test_all_of_torchvisions_segmentation_networks_are_offered():
    assert "fcn_resnet50" in models.list_models(module=segmentation)
