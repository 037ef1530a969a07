import torch

from compress.merge.experts.singular_values import SingularValueExperts, gathered
from tests.merge.experts.weights import expert


def test_one_expert_stays_as_it_is():
    own = expert(0)
    for merged, part in zip(SingularValueExperts().merge([own], torch.ones(1)), own, strict=True):
        torch.testing.assert_close(merged, part, atol=1e-5, rtol=1e-5)


def test_the_result_holds_the_leading_directions_of_each_and_the_mean_norm():
    def direction(row):
        matrix = torch.zeros(4, 6)
        matrix[row, row] = 3.0
        matrix[3, 5] = 0.1 * (row + 1)
        return matrix

    shares = torch.tensor([0.5, 0.5])
    matrices = [direction(0), direction(1)]
    result = gathered([4 * matrix for matrix in matrices], shares)
    torch.testing.assert_close(float(result.norm()), sum(4 * float(matrix.norm()) for matrix in matrices) / 2)
    assert torch.linalg.matrix_rank(result) <= 4
    assert result[0, 0] > 8
    assert result[1, 1] > 8
