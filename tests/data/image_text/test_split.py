from pathlib import Path

import pytest
import torch

from compress.data.factory import load_data
from compress.data.settings import DataSettings
from compress.data.split_checks import find_duplicates

SETTINGS = DataSettings(
    source="drawn_captions", image_size=16, samples=62, views=2, tokenizer={"train": "wordpiece", "vocabulary": 80}
)
LINES = DataSettings(source="drawn_lines", image_size=[16, 48], channels=1, samples=62, views=2)


def joined(batches, name):
    return torch.cat([batch.inputs[name] for batch in batches])


@pytest.mark.parametrize(("settings", "image"), [(SETTINGS, "image"), (LINES, "input")])
def test_epochs_repeat_themselves_and_views_are_those_of_the_images(settings, image):
    train = load_data(settings, base=Path()).train
    first, again = (list(train.epoch(1, 16, seed=5)) for _ in range(2))
    assert train.views == 2
    assert len(first) == train.batches(16)
    assert torch.equal(joined(first, image), joined(again, image))
    other = list(train.epoch(2, 16, seed=5))
    assert not torch.equal(joined(first, image), joined(other, image))
    samples = torch.cat([batch.samples for batch in first])
    assert sorted(samples.tolist()) == list(range(len(train)))
    view = joined(train.view(1, 16), image)
    assert torch.equal(view[samples], joined(first, image))


def test_a_batch_has_the_caption_of_each_image():
    train = load_data(SETTINGS, base=Path()).train
    for batch in train.epoch(0, 8, seed=1):
        for row, sample in enumerate(batch.samples.tolist()):
            length = int(batch.inputs["attention_mask"][row].sum())
            tokens = batch.inputs["input_ids"][row, :length].tolist()
            assert tokens == train.tokens.row(sample).tolist()
            assert batch.targets["image_number"][row] == train.targets["image_number"][sample]
    assert train.name(3).endswith(train.texts[3])


@pytest.mark.parametrize("settings", [SETTINGS, LINES])
def test_splits_are_told_apart_and_copies_are_found(settings):
    data, other = (load_data(settings.model_copy(update={"seed": seed}), base=Path()) for seed in (0, 1))
    assert data.train.fingerprint == load_data(settings, base=Path()).train.fingerprint
    assert data.train.fingerprint != other.train.fingerprint
    assert not find_duplicates({"training": data.train, "test": data.test})
    (fact,) = find_duplicates({"training": data.train, "test": data.train})
    assert fact.values["count"] == len(data.train)
