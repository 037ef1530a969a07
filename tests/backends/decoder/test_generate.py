"""Generation: tokens up to a limit, to one that ends the text, and to the end of the context."""

import pytest

from compress.backends.decoder.generate import generate
from compress.backends.decoder.sampling import Sampler
from compress.backends.decoder.session import DecoderSession
from compress.core.errors import ConversionError
from tests.export.decoder_artifacts import MOST


@pytest.fixture(scope="module")
def session(language_artifact):
    return DecoderSession(language_artifact[0] / "model.onnx")


def test_tokens_end_at_the_limit_and_at_a_stop(session):
    session.start(MOST)
    tokens = [each.token for each in generate(session, [5, 9], Sampler(), most=8)]
    assert len(tokens) == 8
    assert [each.token for each in generate(session, [5, 9], Sampler(), most=3)] == tokens[:3]
    stopped = [each.token for each in generate(session, [5, 9], Sampler(), most=8, stops={tokens[4]})]
    assert stopped == tokens[: tokens.index(tokens[4])]


def test_tokens_end_with_the_context(session):
    session.start(MOST)
    found = [*generate(session, [5] * (MOST - 2), Sampler(), most=50)]
    assert len(found) == 3  # after the prompt, and after each of the two last places
    assert all(each.seconds > 0 for each in found)
    with pytest.raises(ConversionError, match="longer than"):
        next(generate(session, [5] * (MOST + 1), Sampler(), most=1))
