from __future__ import annotations

import numpy as np

from compress.core.signature import AxisSizes
from compress.profile.served_sizes import padded_example, served_feeds, served_sizes
from tests.export.tiny import SPEC as IMAGES
from tests.quantize.encoder import SPEC


def test_lengths_are_the_typical_and_the_largest_of_the_signature() -> None:
    assert served_sizes(SPEC.signature) == ({"sequence": 16}, {"sequence": 48})
    assert served_sizes(SPEC.signature.with_sizes(sequence=AxisSizes(1, 48, 48))) == ({"sequence": 48},)
    assert served_sizes(IMAGES.signature) == ()
    feeds = served_feeds(SPEC.signature, 2)
    assert {name: arrays["input_ids"].shape for name, arrays in feeds.items()} == {
        "sequence 16": (2, 16),
        "sequence 48": (2, 48),
    }


def test_the_second_example_is_half_padding() -> None:
    mask = padded_example(SPEC.signature)["attention_mask"]
    np.testing.assert_array_equal(mask.sum(1), [16, 8])
