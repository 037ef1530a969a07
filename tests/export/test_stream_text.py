from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE

from compress.export.stream_text import GenerationTimes, stream_text


def test_a_character_of_two_tokens_comes_whole_and_times_are_kept_apart():
    tokenizer = Tokenizer(BPE(vocab={"a": 0, "Ã": 1, "©": 2}, merges=[]))  # the bytes of é, as byte-level tokens
    tokenizer.decoder = decoders.ByteLevel()
    times = GenerationTimes(3)
    assert list(stream_text([(0, 0.5), (1, 0.25), (2, 0.125)], tokenizer, times)) == ["a", "é"]
    assert (times.first_token_s, times.further_s, times.tokens) == (0.5, [0.25, 0.125], [0, 1, 2])
