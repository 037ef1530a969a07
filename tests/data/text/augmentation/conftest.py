"""A tokenizer, and the folder of a masked language model for it."""

import pytest

from tests.data.text.augmentation.augmentation_checks import masked_network, tokenizer


@pytest.fixture(scope="module")
def own():
    return tokenizer()


@pytest.fixture(scope="module")
def folder(own, tmp_path_factory):
    path = tmp_path_factory.mktemp("masked")
    masked_network(own).save_pretrained(path)
    (path / "tokenizer.json").write_bytes(own.file)
    return path
