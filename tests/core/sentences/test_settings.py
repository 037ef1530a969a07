"""Words of settings and of checks of a device."""

from __future__ import annotations

from compress.core.language import in_language
from compress.core.sentences.settings import check_words, setting_words


def test_names_and_words_are_translated_and_other_values_are_not():
    assert setting_words("spinning", "off") == "spinning off"
    with in_language("zh"):
        assert setting_words("spinning", "off") == "自旋等待 关"
        assert setting_words("mine", "ONNX Runtime 1.20") == "mine ONNX Runtime 1.20"
        assert check_words("power sensor") == "功率传感器"
