from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import compress.data.sources.cifar as cifar_module
from compress.core.errors import DataError
from compress.data.factory import load_data
from compress.data.settings import DataSettings


class Small:
    """In place of torchvision's, which would download."""

    url = "https://example.org/cifar.tar.gz"
    base_folder = "cifar-10-batches-py"
    classes = ("plane", "car")
    roots: ClassVar[list[Path]] = []

    def __init__(self, root, train, download):  # noqa: ARG002
        self.roots.append(Path(root))
        count = 40 if train else 12
        self.data = np.random.default_rng(int(train)).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        self.targets = [index % 2 for index in range(count)]


class Absent(Small):
    def __init__(self, root, train, download):  # noqa: ARG002
        raise OSError("Name or service not known")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("COMPRESS_DATA", raising=False)


@pytest.mark.parametrize("source", ["cifar10", "cifar100"])
def test_validation_is_held_out_of_training_and_test_is_its_own(monkeypatch, tmp_path, source):
    monkeypatch.setattr(cifar_module, "datasets", SimpleNamespace(CIFAR10=Small, CIFAR100=Small))
    data = load_data(DataSettings(source=source, image_size=32, validation=0.2), base=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (32, 8, 12)
    pixels = next(iter(data.test.ordered(1))).input[0].permute(1, 2, 0).numpy() * data.spec.std + data.spec.mean
    assert np.allclose(pixels * 255, Small("", False, False).data[0], atol=0.1)


def test_it_is_kept_beside_the_recipe_or_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setattr(cifar_module, "datasets", SimpleNamespace(CIFAR10=Small))
    load_data(DataSettings(source="cifar10"), base=tmp_path)
    assert Small.roots[-1] == tmp_path / "data"
    monkeypatch.setenv("COMPRESS_DATA", str(tmp_path / "shared"))
    load_data(DataSettings(source="cifar10"), base=tmp_path)
    assert Small.roots[-1] == tmp_path / "shared"


def test_without_a_network_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(cifar_module, "datasets", SimpleNamespace(CIFAR10=Absent))
    with pytest.raises(DataError, match=r"cannot be downloaded .*Name or service.*cifar\.tar\.gz.*COMPRESS_DATA"):
        load_data(DataSettings(source="cifar10"), base=tmp_path)
