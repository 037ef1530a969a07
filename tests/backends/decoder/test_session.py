"""Sessions: capacity, new texts, and files without past keys and values."""

import numpy as np
import pytest

from compress.backends.decoder.session import DecoderSession
from compress.core.errors import ConversionError
from tests.export.decoder_artifacts import MOST


def test_a_new_text_forgets_the_old_one(language_artifact):
    session = DecoderSession(language_artifact[0] / "model.onnx")
    first = session.read([5, 9, 11])
    session.read([7])
    assert session.length == 4
    session.start()
    np.testing.assert_array_equal(session.read([5, 9, 11]), first)
    session.start(8)
    np.testing.assert_allclose(session.read([5, 9, 11]), first, rtol=1e-5)
    assert session.capacity == 8


def test_texts_end_at_the_capacity(language_artifact):
    session = DecoderSession(language_artifact[0] / "model.onnx")
    session.start(1000)
    assert session.capacity == MOST
    session.read([3] * (MOST - 1))
    session.read([4])
    with pytest.raises(ConversionError, match=f"{MOST + 1} tokens is longer than the {MOST}"):
        session.read([5])


def test_files_without_past_keys_and_values_are_refused(language_artifact):
    with pytest.raises(ConversionError, match="has no past keys and values"):
        DecoderSession(language_artifact[1].files["onnxruntime"])
