import itertools

import onnx
import pytest

from compress.config.devices import device_names
from compress.config.recipe import loads
from compress.config.starter import OFFERS, SAVINGS, Answers, write_starter
from compress.core.errors import CompressError, RecipeError
from compress.core.registry_field import name_of
from tests.backends import test_check_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the ONNX file that the task `outputs` offers."""
    folder = tmp_path_factory.mktemp("starter")
    onnx.save(test_check_file.network(), folder / "model.onnx")
    return folder


def combinations():
    for task, offer in OFFERS.items():
        for network, data, saving in itertools.product(offer.networks, offer.data, SAVINGS):
            for devices in (("host",), ("jetson_orin_nano",), ("raspberry_pi_5", "mobile_cpu")):
                yield Answers(task, network, data, devices, saving, size_mb=2.0, latency_ms=5.0)


def test_every_combination_that_is_offered_is_valid(folder):
    faults = {}
    for answers in combinations():
        try:
            loads(write_starter("mine", answers), base=folder)
        except RecipeError as error:
            faults[answers] = str(error)
    assert faults == {}


@pytest.mark.parametrize("saving", SAVINGS)
@pytest.mark.parametrize("device", device_names())
def test_every_device_has_a_valid_recipe(device, saving):
    recipe = loads(write_starter("mine", Answers("classification", "torchvision:resnet18", "digits", (device,), saving)))
    assert recipe.stages[-1].devices == (device,)


def test_the_stages_are_those_of_the_answers():
    new = loads(write_starter("mine", Answers("classification", "torchvision:resnet18", "digits")))
    assert [name_of("stage", stage) for stage in new.stages] == ["train", "prune", "quantize", "export", "profile"]
    trained = loads(write_starter("mine", Answers("text_classification", "hf:mine", "csv:texts.csv")))
    assert [name_of("stage", stage) for stage in trained.stages] == ["prune", "quantize", "export", "profile"]


def test_limits_are_those_that_were_given_and_no_others():
    given = Answers("classification", "torchvision:resnet18", "digits", tolerance=0.02, size_mb=3.0, latency_ms=7.0)
    budget = loads(write_starter("mine", given)).budget
    assert budget is not None
    assert (budget.limits, budget.size_mb, budget.latency_ms) == ({"accuracy_drop": 0.02}, 3.0, {"host": 7.0})
    bare = loads(write_starter("mine", Answers("classification", "torchvision:resnet18", "digits"))).budget
    assert bare is not None
    assert (bare.limits, bare.size_mb, bare.latency_ms) == ({"accuracy_drop": 0.01}, None, {})


def test_text_of_a_user_stays_a_value():
    text = write_starter("mine", Answers("classification", 'torchvision:resnet18"\nseed: 9', "digits"))
    assert "\nseed: 9" not in text
    with pytest.raises(RecipeError):
        loads(text)


def test_an_unknown_task_is_answered_with_the_nearest():
    with pytest.raises(CompressError, match="did you mean 'detection'"):
        write_starter("mine", Answers("detecton", "detector:small", "drawn_boxes"))
