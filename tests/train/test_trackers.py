import sys
from types import ModuleType

import pytest

from compress.core.errors import MissingPackageError
from compress.train.trackers import Tracker
from tests.train.toy_training import SETTINGS, conv_net, train


class Writer:
    """Stands in for TensorBoard's writer, which is an extra."""

    def __init__(self, folder):
        self.folder, self.scalars, self.closed = folder, [], False
        Writer.last = self

    def add_scalar(self, *values):
        self.scalars.append(values)

    def close(self):
        self.closed = True


@pytest.fixture
def tensorboard(monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)


@pytest.mark.usefixtures("tensorboard")
def test_a_training_writes_one_value_of_each_curve_per_epoch(tmp_path):
    history = train(conv_net(), tmp_path, SETTINGS.model_copy(update={"tracker": "tensorboard"}))
    writer = Writer.last
    assert writer.folder == str(tmp_path / "train.tensorboard")
    assert writer.closed
    for name, curve in history.curves.items():
        assert [(value, epoch) for key, value, epoch in writer.scalars if key == name] == list(
            zip(curve.y, range(1, 5), strict=True)
        )


@pytest.mark.usefixtures("tensorboard")
def test_the_file_is_closed_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), Tracker("tensorboard", tmp_path):
        raise ZeroDivisionError
    assert Writer.last.closed


def test_no_tracker_writes_nothing(tmp_path):
    with Tracker(None, tmp_path / "events") as tracker:
        tracker.add(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_a_missing_tracker_package_gives_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackageError, match=r"compress\[tensorboard\]"):
        train(conv_net(), tmp_path, SETTINGS.model_copy(update={"tracker": "tensorboard"}))
