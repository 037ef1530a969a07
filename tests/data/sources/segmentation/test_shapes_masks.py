import psutil
import pytest
import torch

from compress.core.errors import DataError
from compress.data.factory import data_fingerprint, load_data
from compress.data.settings import DataSettings

SETTINGS = DataSettings(source="shapes_masks", image_size=24, samples=62, evaluation_limit=6)


def read(**settings):
    return load_data(SETTINGS.model_copy(update=settings), base=None)


def test_splits_are_drawn_apart_and_labelled_as_drawn():
    data = read()
    assert (len(data.train), len(data.validation), len(data.test)) == (62, 6, 6)
    assert {fact.code for fact in data.warnings} == {"data.drawn_scenes"}
    assert data.spec.classes[0] == "background"
    assert "matplotlib" in data_fingerprint(SETTINGS, None)


def test_a_limit_takes_the_first_scenes():
    few, many = read(limit=8, augment="none"), read(augment="none")
    assert len(few.train) == 8
    batch, other = (next(iter(data.train.ordered(8))) for data in (few, many))
    assert torch.equal(batch.target, other.target[:8])


def test_grey_scenes_are_read_by_networks_of_one_channel():
    data = read(channels=1)
    assert next(iter(data.test.ordered(2))).input.shape == (2, 1, 24, 24)


def test_scenes_that_would_fill_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000})())
    with pytest.raises(DataError, match="GiB are free; lower `samples` or `image_size`"):
        read()
