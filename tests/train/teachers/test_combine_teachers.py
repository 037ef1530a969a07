import numpy as np
import pytest
import torch

from compress.train.teachers.combine_teachers import combine_logits, teacher_weights


def draw(rows, classes, seed=0):
    return (3 * np.random.default_rng(seed).standard_normal((rows, classes))).astype(np.float32)


def softmax(z):
    e = np.exp(z.astype(np.float64) - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_the_weights_of_several_teachers_equal_the_formulas():
    z, y = torch.from_numpy(np.stack([draw(4, 3, seed) for seed in range(3)])), torch.tensor([0, 2, 1, -1])
    p = np.stack([softmax(item.numpy()) for item in z])
    sure = p.max(2) / p.max(2).sum(0)
    np.testing.assert_allclose(teacher_weights(z, y, "confidence"), sure, rtol=1e-5)
    right = teacher_weights(z, y, "loss").numpy()
    for n in range(3):
        inverse = [1 / p[m, n, y[n]] for m in range(3)]  # exp of the cross-entropy
        np.testing.assert_allclose(right[:, n], [(1 - e / sum(inverse)) / 2 for e in inverse], rtol=1e-5)
    np.testing.assert_allclose(right[:, 3], 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("how", ["mean", "confidence", "loss"])
def test_combined_answers_are_a_weighted_mean(how):
    z, y = torch.from_numpy(np.stack([draw(4, 3, seed) for seed in range(3)])), torch.tensor([0, 2, 1, -1])
    w = torch.full((3, 4), 1 / 3) if how == "mean" else teacher_weights(z, y, how)
    torch.testing.assert_close(w.sum(0), torch.ones(4))
    torch.testing.assert_close(combine_logits(list(z), y, how), (w.unsqueeze(2) * z).sum(0))
    torch.testing.assert_close(combine_logits([z[0]], y, how), z[0])


def test_the_teacher_that_is_right_weighs_more():
    right, wrong = torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 5.0]])
    assert float(teacher_weights(torch.stack([right, wrong]), torch.tensor([0]), "loss")[0]) > 0.9
