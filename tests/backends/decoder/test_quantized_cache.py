"""Keys and values as integers: near those in float32, in a fraction of the bytes."""

import numpy as np
import pytest

pytest.importorskip("transformers")

from compress.backends.decoder.key_value_cache import read_layout, write_cached
from compress.backends.decoder.quantized_cache import calibrate_cache
from compress.backends.decoder.session import DecoderSession
from tests.backends.decoder.small_decoders import decoder, files, prompts


def read_step_by_step(path, tokens):
    """Logits after a prompt of half of the tokens, and after each further one; and what is kept of the first layer."""
    session = DecoderSession(path)
    start = len(tokens) // 2
    rows = [session.read(tokens[:start])[-1], *(session.read([token])[-1] for token in tokens[start:])]
    kept = session.keys_and_values(0)
    session.close()
    return np.array(rows), kept


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return files(decoder("llama"), tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize(("bits", "kind", "error"), [(8, np.int8, 0.02), (4, np.uint8, 0.3)])
def test_integers_stay_near_float(family, tmp_path, bits, kind, error):
    plain, cached = family
    texts = prompts(12)
    cache = calibrate_cache(cached, texts, bits)
    layout = write_cached(plain, tmp_path / "integers.onnx", cache=cache)
    assert layout.bytes_per_token == read_layout(cached).bytes_per_token * bits // 32
    assert read_layout(tmp_path / "integers.onnx") == layout
    tokens = max(texts, key=len)
    expected, (keys, _) = read_step_by_step(cached, tokens)
    found, (integers, _) = read_step_by_step(tmp_path / "integers.onnx", tokens)
    assert integers.dtype == kind
    assert integers.shape == (2, len(tokens), 16 * bits // 8)
    assert np.square(found - expected).sum() < error * np.square(expected).sum()
    if bits == 8:
        scales = cache.scales[0][0].reshape(2, 1, 16)
        assert np.abs(integers * scales - keys).max() <= 0.51 * scales.max()


def test_scales_cover_the_largest_keys_of_the_texts(family):
    _, cached = family
    texts = prompts(4)
    cache = calibrate_cache(cached, texts, 8)
    session = DecoderSession(cached)
    most = np.zeros(32)
    for text in texts:
        session.start()
        session.read(text)
        most = np.maximum(most, np.abs(session.keys_and_values(1)[1]).max(1).ravel())
    session.close()
    np.testing.assert_allclose(cache.scales[1][1] * 127, np.maximum(most, 1e-6), rtol=1e-5)
