from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from compress.core.errors import ModelError
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.models.factory import build_model
from compress.models.settings import ModelSettings
from compress.models.sources.visual_language import fill_vision_from_teacher
from compress.pipeline.task_data import data_for_task
from compress.tasks.classification import Classification
from compress.tasks.image_text.visual_language import VisualLanguageTask

DRAWN = DataSettings(
    source="drawn_questions",
    image_size=32,
    samples=62,
    augment="none",
    columns={"targets": "next"},
    tokenizer={"train": "bpe", "vocabulary": 320},
    lengths={"typical": 12, "most": 24},
)
SMALL = {"vision": {"width": 4}, "decoder": {"source": "decoder:tiny", "args": {"layers": 1, "width": 16, "heads": 1}}}


@pytest.fixture(scope="module")
def data():
    return data_for_task(load_data(DRAWN, base=Path()), VisualLanguageTask())


def built(data, seed=0, **args):
    settings = ModelSettings(source="visual_language:small", args={**SMALL, **args})
    return build_model(settings, data.spec, seed=seed, base=Path(), task=VisualLanguageTask()).module


@pytest.mark.parametrize("projector", ["linear", "mlp"])
def test_each_token_sees_the_image_and_the_tokens_before_it_and_no_padding(data, projector):
    network, batch = built(data, projector=projector), next(iter(data.train.ordered(4)))
    image, ids, mask = batch.inputs.values()
    seen = []
    handle = network.places.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        logits, other_image = network(image, ids, mask), network(image.flip(0), ids, mask)
        later, padded = ids.clone(), torch.cat([ids, torch.full((4, 3), 7)], dim=1)
        later[:, 5] = (later[:, 5] + 1) % 300
        changed = network(image, later, mask)
        longer = network(image, padded, torch.cat([mask, torch.zeros(4, 3).long()], dim=1))
    handle.remove()
    assert logits.shape == (4, ids.shape[1], data.spec.signature.outputs[0].shape[2])
    assert seen[0].shape == (4, 16 + ids.shape[1], logits.shape[2])
    assert not torch.allclose(logits[:, 0], other_image[:, 0])
    assert torch.allclose(logits[:, :5], changed[:, :5], atol=1e-5)
    assert not torch.allclose(logits[:, 5], changed[:, 5])
    assert torch.allclose(logits, longer[:, : ids.shape[1]], atol=1e-5)


def test_a_student_starts_from_the_vision_of_its_teacher(data):
    teacher, student = built(data, seed=1), built(data, seed=2)
    (fact,) = fill_vision_from_teacher(student, teacher, "visual_language:small")
    assert fact.values["parameters"] == sum(each.numel() for each in teacher.vision.parameters())
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(student.vision(image), teacher.vision(image))
    with pytest.raises(ModelError, match="the teacher has no vision encoder of these sizes"):
        fill_vision_from_teacher(student, built(data, vision={"width": 8}), "visual_language:small")


@pytest.mark.parametrize(("args", "sigma"), [({}, (2 / (5 * 64)) ** 0.5), ({"initializer_range": 0.02}, 0.02)])
def test_a_new_decoder_starts_from_weights_of_its_width(data, args, sigma):
    decoder = {"source": "decoder:tiny", "args": {"layers": 1, "width": 64, "heads": 1, **args}}
    network = built(data, decoder=decoder).decoder
    assert network.config.initializer_range == pytest.approx(sigma)
    assert network.model.layers[0].mlp.up_proj.weight.std().item() == pytest.approx(sigma, rel=0.05)


def test_what_cannot_be_is_told(data):
    with pytest.raises(ValidationError, match=r"args\.vision\.size(.|\n)*it takes vision, projector, decoder"):
        ModelSettings(source="visual_language:small", args={"vision": {"size": 3}})
    with pytest.raises(ValidationError, match="there is no network visual_language:big; write visual_language:small"):
        ModelSettings(source="visual_language:big")
    with pytest.raises(ValidationError, match="give a block of a network that writes texts, of the sources decoder:, hf:"):
        ModelSettings(source="visual_language:small", args={"decoder": {"source": "encoder:tiny"}})
    digits = load_data(DataSettings(source="digits", image_size=16, limit=20), base=Path())
    with pytest.raises(ModelError, match="answers a question on an image, for the task visual_language"):
        build_model(ModelSettings(source="visual_language:small"), digits.spec, seed=0, base=Path(), task=Classification())
