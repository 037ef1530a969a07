"""Words for names in records."""

from __future__ import annotations

import pytest

from compress.core.language import in_language
from compress.core.record import Metric
from compress.core.sentences.names import column_words, network_words, table_words

ACCURACY = Metric(name="accuracy", label="accuracy", unit="fraction", higher_is_better=True)


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("accuracy", "accuracy", "准确率"),
        ("accuracy_recovered", "accuracy after recovery", "恢复训练后的准确率"),
        ("step-2 loss_validation", "step-2: validation loss", "step-2：验证损失"),
        ("rmse_of_constant", "rmse of the best constant", "最佳常数的rmse"),
        ("out_before", "outputs before", "之前的输出"),
        ("my_own_column", "my own column", "my own column"),
    ],
)
def test_columns_and_curves_have_words_in_both_languages(name, english, chinese):
    assert column_words(name, ACCURACY) == english
    with in_language("zh"):
        assert column_words(name, ACCURACY) == chinese


def test_networks_and_tables_of_others_keep_their_names():
    assert (network_words("teacher"), network_words("finetune")) == ("teacher", "finetune")
    assert (table_words("pruning_steps"), table_words("my_table")) == ("Pruning steps", "My table")
