"""The task of images and texts: its outputs, losses and errors, on a network of linear layers."""

import pytest
import torch
from torch import nn

from compress.backends.run_split import run_split
from compress.core.errors import CompressError, DataError
from compress.core.network_spec import image_spec
from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.pipeline.split_metrics import has_own_chance
from compress.pipeline.task_data import check_targets, data_for_task
from compress.tasks.choice import TaskChoice
from compress.tasks.image_text.dual_encoder import ImageText, same_pairs

SETTINGS = DataSettings(
    source="drawn_captions",
    image_size=16,
    samples=62,
    test=0.4,
    augment="none",
    tokenizer={"train": "wordpiece", "vocabulary": 80},
    columns={"class_sentence": "a {}"},
)


class Linear(nn.Module):
    """Vectors of a linear layer and of the mean of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.table = nn.Linear(16 * 16 * 3, 8), nn.Embedding(80, 8)

    def similarity_scale(self):
        return torch.tensor(3.0)

    def forward(self, image, input_ids, attention_mask):
        weights = attention_mask[..., None].float()
        return self.image(image.flatten(1)), (self.table(input_ids) * weights).sum(1) / weights.sum(1)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    task = TaskChoice.read({"image_text": {"zero_shot": "a {}"}}).make()
    data = data_for_task(load_data(SETTINGS, base=tmp_path_factory.mktemp("data")), task)
    torch.manual_seed(0)
    return task, data, Linear().eval()


def test_all_metrics_are_measured_in_one_pass(given):
    task, data, network = given
    check_targets(task, data)
    result = run_split(network, data.test, task, every_metric=True)
    names = [metric.info.name for metric in task.metrics]
    assert names[0] == task.metric == "recall_at_1"
    assert "zero_shot_accuracy" in names
    assert "image_to_text_recall_at_10" in names
    statistics = {**result.further, task.metric: result.scores}
    assert {name: statistics[name].shape[0] for name in names} == dict.fromkeys(names, len(data.test))
    assert has_own_chance(result, task, ())
    assert task.chance_level((), statistics) == pytest.approx(1 / len(data.test), rel=0.2)


def test_the_loss_uses_the_learned_scale_of_the_network(given):
    task, data, network = given
    batch = next(iter(data.train.ordered(16)))
    outputs = task.training_forward(network, batch.inputs, batch.targets)
    assert outputs["logit_scale"].shape == (16,)
    with_scale = float(task.loss(outputs, batch.targets).detach())
    without = float(task.loss({name: outputs[name] for name in task.output_names}, batch.targets).detach())
    assert with_scale != without
    rows = task.distillable(outputs, batch.targets)
    assert rows.logits.shape == (32, 8)
    assert torch.allclose(rows.logits[16:] / 8**0.5, outputs["text_embedding"])
    assert rows.samples.tolist() == [*range(16), *range(16)]


def test_calibration_samples_have_whole_images_and_texts(given):
    task, data, _ = given
    samples = task.calibration(data.train, 5, 0)
    assert len(samples) == 5
    for sample in samples:
        assert sample["image"].shape == (1, 3, 16, 16)
        assert sample["input_ids"].shape == sample["attention_mask"].shape


def test_pairs_of_one_image_or_one_text_belong_together():
    numbers = {"image_number": torch.tensor([0, 1, 2, 0]), "text_number": torch.tensor([0, 1, 1, 3])}
    same = same_pairs(numbers)
    assert same.diagonal().all()
    assert same[0, 3]
    assert same[1, 2]
    assert not same[0, 1]
    assert (same == same.T).all()


def test_data_without_captions_and_sentences_without_a_place_are_refused():
    spec = image_spec(channels=3, height=8, width=8, mean=(0.0,) * 3, std=(1.0,) * 3, classes=("a", "b"), outputs=())
    with pytest.raises(DataError, match="image_text takes images with captions"):
        ImageText().complete_spec(spec)
    with pytest.raises(CompressError, match="zero_shot"):
        TaskChoice.read({"image_text": {"zero_shot": "a photo"}})
