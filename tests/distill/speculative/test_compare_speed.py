from compress.backends.decoder.speculative import SpeculativeDecoder
from compress.distill.speculative.compare_speed import compare_speed
from tests.backends.decoder.speculative_pairs import near_copy, sessions


def test_identical_texts_are_counted_and_the_interval_holds_the_ratio(language_artifact, tmp_path):
    candidate = language_artifact[1]
    decoder = SpeculativeDecoder(*sessions(candidate, near_copy(candidate, 0.02), tmp_path), 3)
    speed = compare_speed(decoder, [[5, 9], [7], [11, 12, 13]], most=12, stops=())
    assert (speed.texts, speed.identical) == (3, 3)
    assert 0 < speed.low <= speed.ratio <= speed.high
    wrong = SpeculativeDecoder(decoder.target, decoder.draft, 3)
    wrong.rounds = lambda *_, **__: iter(())
    assert compare_speed(wrong, [[5, 9], [7]], most=12, stops=()).identical == 0
