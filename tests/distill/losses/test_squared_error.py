import torch

from compress.distill.losses.squared_error import squared_error


def test_it_is_the_mean_square_of_each_row_and_pulls_the_student_only_towards_the_teacher():
    student = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 4.0], [3.0, 0.0]])
    losses = squared_error(student, teacher)
    assert losses.tolist() == [2.5, 4.5]
    losses.sum().backward()
    assert student.grad.tolist() == [[1.0, -2.0], [-3.0, 0.0]]
