"""Speculative decoding: the same text as the target alone, whatever the draft proposes; the expected speed-up."""

import numpy as np
import pytest

from compress.backends.decoder.session import DecoderSession
from compress.backends.decoder.speculative import SpeculativeDecoder, expected_speedup, expected_tokens
from compress.core.errors import ConversionError
from tests.backends.decoder.speculative_pairs import greedy, near_copy, sessions
from tests.export.decoder_artifacts import MOST

PROMPTS = [[5, 9, 11], [7], [3] * 10, list(range(20, 45))]


@pytest.fixture(scope="module")
def pair(language_artifact, tmp_path_factory):
    candidate = language_artifact[1]
    return sessions(candidate, near_copy(candidate, 0.02), tmp_path_factory.mktemp("pair"))


def text_of(decoder, prompt, most, stops=()):
    rounds = list(decoder.rounds(prompt, most=most, stops=stops))
    return [token for one in rounds for token in one.tokens], rounds


@pytest.mark.parametrize("k", [1, 3, 7])
def test_the_text_is_that_of_the_target_alone_up_to_the_context(pair, k):
    target, draft = pair
    decoder = SpeculativeDecoder(target, draft, k)
    accepted = 0
    for prompt in PROMPTS:
        for most in (1, 2, 12, 1000):
            found, rounds = text_of(decoder, prompt, most)
            assert found == greedy(target, prompt, most)
            assert all(one.drafted[: one.accepted] == one.tokens[:-1] for one in rounds)
            assert all(len(one.drafted) <= k for one in rounds)
            accepted += sum(one.accepted for one in rounds)
    assert accepted > 0
    assert len(text_of(decoder, PROMPTS[0], 1000)[0]) == MOST + 1 - len(PROMPTS[0])


def test_a_token_that_ends_the_text_ends_it_inside_a_round(pair):
    target, draft = pair
    whole = greedy(target, PROMPTS[0], 20)
    for stop in set(whole[1:8]):
        expected = greedy(target, PROMPTS[0], 20, (stop,))
        assert text_of(SpeculativeDecoder(target, draft, 5), PROMPTS[0], 20, (stop,))[0] == expected


def test_a_draft_that_is_the_target_is_always_right(language_artifact, tmp_path):
    candidate = language_artifact[1]
    target, draft = sessions(candidate, candidate.network(), tmp_path)
    _, rounds = text_of(SpeculativeDecoder(target, draft, 4), [5, 9], 20)
    assert all(one.accepted == len(one.drafted) for one in rounds)
    assert len(rounds) == 1 + -(-19 // 5)


def test_a_target_with_the_last_logits_alone_is_refused(language_artifact, pair):
    last = DecoderSession(language_artifact[0] / "model.onnx")
    with pytest.raises(ConversionError, match="needs the logits of all tokens"):
        SpeculativeDecoder(last, pair[1], 2)


def test_a_session_that_is_rewound_reads_on_as_if_it_had_not_read_further(pair):
    target, _ = pair
    target.start(target.context)
    target.read([5, 9, 11])
    expected = target.read([7, 8])
    target.rewind(3)
    target.read([20, 21, 22])
    target.rewind(3)
    np.testing.assert_allclose(target.read([7, 8]), expected, rtol=1e-5, atol=1e-5)


def test_expected_tokens_are_the_mean_of_a_simulation():
    generator = np.random.default_rng(0)
    for a, k in ((0.7, 4), (0.3, 2), (0.9, 8)):
        taken = generator.random((200_000, k)) < a
        rounds = np.where(taken.all(1), k, np.argmin(taken, axis=1)) + 1
        assert expected_tokens(a, k) == pytest.approx(rounds.mean(), rel=0.01)
    assert expected_tokens(1.0, 3) == 4
    assert expected_tokens(0.0, 3) == 1


def test_the_expected_speedup_counts_the_time_of_longer_runs():
    assert expected_speedup(0.8, 4, 0.1) == pytest.approx((1 - 0.8**5) / (0.2 * (0.1 * 4 + 1)))
    assert expected_speedup(0.8, 4, 0.1, 2.0) == pytest.approx((1 - 0.8**5) / (0.2 * (0.1 * 4 + 2)))
    assert expected_speedup(0.5, 0, 0.1) == 1
