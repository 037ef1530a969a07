import pytest

pytest.importorskip("tokenizers")

from compress.data.text.windows import encode_windows
from tests.data.text.test_answer_targets import CONTEXT, tokenizer


def test_windows_share_the_stride_and_the_tokenizer_keeps_it():
    made = tokenizer()
    windows = encode_windows(made, ["who?", "when?"], [CONTEXT, "Ada"], 6)
    assert windows.rows[-1] == 1
    assert windows.rows.count(0) > 1
    first, second = (
        [offset for offset, sequence in zip(each.offsets, each.sequence_ids, strict=True) if sequence == 1]
        for each in windows.encodings[:2]
    )
    assert first[-6:] == second[:6]
    assert made.tokenizer.truncation["stride"] == 6
    assert made.tokenizer.truncation["strategy"] == "only_second"


def test_without_a_stride_a_text_is_cut_and_counted():
    windows = encode_windows(tokenizer(), ["who?", "when?"], [CONTEXT, "Ada"], None)
    assert windows.rows == [0, 1]
    assert windows.cut == 1
