"""Layouts in JSON, and the bytes of keys and values."""

import pytest
from pydantic import ValidationError

from compress.core.decoder_layout import AttentionLayer, DecoderLayout

LAYER = AttentionLayer(query="q", key="k", value="v", output="o", heads=4, groups=2, width=16, scale=0.25)


def test_layouts_survive_json():
    layout = DecoderLayout(layers=(LAYER,), context=8, frequencies=(1.0, 0.01), head="head", window=4)
    assert DecoderLayout.model_validate_json(layout.model_dump_json()) == layout


def test_bytes_count_keys_and_values_of_all_layers():
    narrow = LAYER.model_copy(update={"groups": 1})
    layout = DecoderLayout(layers=(LAYER, narrow), context=8, positions="wpe", head="head")
    assert layout.bytes_per_token == 2 * 2 * 16 * 4 + 2 * 1 * 16 * 4


def test_a_layout_has_layers():
    assert not LAYER.is_joint
    assert LAYER.model_copy(update={"key": "q"}).is_joint
    with pytest.raises(ValidationError):
        DecoderLayout(layers=(), context=8, head="head")
