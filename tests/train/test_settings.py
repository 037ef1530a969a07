import subprocess
import sys

import pytest
from pydantic import ValidationError

from compress.distill.losses.hard_labels import HardLabels
from compress.distill.losses.response import Response
from compress.train.settings import FinetuneSettings, LogitCache, Training


def test_the_default_losses_are_those_of_hinton():
    assert FinetuneSettings().losses == (Response(temperature=4.0, weight=0.7), HardLabels(weight=0.3))


@pytest.mark.parametrize("losses", [[], [{"task": {"weight": 0.0}}, {"response": {"weight": 0.0}}]])
def test_losses_whose_weights_are_all_zero_are_refused(losses):
    with pytest.raises(ValidationError, match="none with a weight above 0; add one"):
        FinetuneSettings(losses=losses)


def test_losses_are_read_by_name_and_written_back():
    settings = FinetuneSettings(losses=["task", {"response": {"weight": 0.5}}], cache={"k": 3})
    assert settings.losses == (HardLabels(), Response(weight=0.5))
    assert FinetuneSettings.model_validate_json(settings.model_dump_json()) == settings
    assert settings.cache == LogitCache(k=3)


@pytest.mark.parametrize(
    ("settings", "expected"), [(Training(epochs=9), (1, 32)), (FinetuneSettings(epochs=0, batch_size=8), (0, 8))]
)
def test_smoke_shrinks_epochs_and_batches_and_keeps_the_rest(settings, expected):
    small = settings.smoke()
    assert (small.epochs, small.batch_size) == expected
    assert small.model_copy(update={"epochs": settings.epochs, "batch_size": settings.batch_size}) == settings


@pytest.mark.parametrize(
    "fields",
    [{"epochs": 0}, {"batch_size": 0}, {"lr": 0.0}, {"weight_decay": -1.0}, {"warmup": 1.0}, {"accumulate": 0}, {"clip": 0.0},
     {"ema": 1.0}, {"label_smoothing": 1.0}, {"patience": 0}, {"schedule": "step"}, {"epoch": 3}],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_values_out_of_range_are_refused(fields):
    with pytest.raises(ValidationError):
        Training(**fields)


def test_settings_are_read_without_torch():
    code = (
        "import sys; from compress.train.settings import FinetuneSettings; FinetuneSettings(losses=['task']);"
        " sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
