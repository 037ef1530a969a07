import numpy as np

from compress.data.text.masking import MaskRule, mask_tokens, uniform

RULE = MaskRule(0.15, mask=4, vocabulary=1000)


def batch(samples=400, length=50):
    ids = np.random.default_rng(0).integers(5, 1000, (samples, length))
    words = np.tile(np.arange(length) // 2, (samples, 1))
    words[:, 0] = -1
    return ids, words, np.arange(samples)


def test_of_the_chosen_tokens_most_are_masked_some_replaced_some_kept():
    ids, words, samples = batch()
    masked, target = mask_tokens(ids, words, samples, 0, RULE)
    chosen = target >= 0
    assert not chosen[:, 0].any()
    assert abs(chosen[:, 1:].mean() - 0.15) < 0.01
    assert (target[chosen] == ids[chosen]).all()
    assert (masked[~chosen] == ids[~chosen]).all()
    is_mask, kept = masked[chosen] == 4, masked[chosen] == ids[chosen]
    assert abs(is_mask.mean() - 0.8) < 0.02
    assert abs(kept.mean() - 0.1) < 0.02


def test_masks_depend_on_sample_view_and_seed_and_not_on_the_batch():
    ids, words, samples = batch()
    masked, target = mask_tokens(ids, words, samples, 3, RULE)
    some = np.array([7, 2, 300])
    again, chosen = mask_tokens(ids[some, :30], words[some, :30], some, 3, RULE)
    assert (again == masked[some, :30]).all()
    assert (chosen == target[some, :30]).all()
    for other in (mask_tokens(ids, words, samples, 4, RULE), mask_tokens(ids, words, samples, 3, RULE._replace(seed=1))):
        assert (other[1] != target).mean() > 0.2
    assert (target[0] >= 0).tolist() != (target[1] >= 0).tolist()


def test_whole_words_are_chosen_together():
    ids, words, samples = batch()
    _, target = mask_tokens(ids, words, samples, 0, RULE._replace(whole_words=True))
    chosen = target >= 0
    assert (chosen[:, 2::2] == chosen[:, 3::2]).all()
    assert abs(chosen[:, 2:].mean() - 0.15) < 0.02


def test_draws_are_uniform_and_independent():
    values = uniform(0, 0, np.arange(500), np.tile(np.arange(40), (500, 1)), 0)
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.15
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.03
