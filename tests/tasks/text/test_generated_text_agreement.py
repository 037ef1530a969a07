"""Agreement of the tokens of two networks, on texts whose differences are known."""

import numpy as np

from compress.tasks.text.generated_text_agreement import FirstDivergence, IdenticalTexts

PARENT = [[5, 6, 7, 1], [5, 6, 7, 1], [5, 1], [5, 6, 7]]
OWN = [(5, 6, 7, 1), (5, 9, 7, 1), (5, 6, 1), (8, 6, 7)]


def test_texts_agree_up_to_the_first_different_token():
    assert FirstDivergence().compare(OWN, PARENT).tolist() == [4.0, 1.0, 1.0, 0.0]
    assert FirstDivergence().value(FirstDivergence().compare(PARENT, PARENT)) == np.mean([4, 4, 2, 3])


def test_texts_are_identical_in_all_tokens():
    assert IdenticalTexts().compare(OWN, PARENT).tolist() == [1.0, 0.0, 0.0, 0.0]
