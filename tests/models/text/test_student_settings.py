import pytest

from compress.models.text.student_settings import read_student


def test_arguments_are_read():
    assert read_student("cnn", {"kernels": [2, 5], "width": 8}).kernels == (2, 5)
    assert read_student("mlp", {"embeddings": "teacher"}).embeddings == "teacher"


@pytest.mark.parametrize(
    ("kind", "args", "said"),
    [
        ("lstm", {}, "no text student 'lstm': did you mean 'bilstm'"),
        ("cnn", {"widht": 3}, "no argument 'widht': did you mean 'width'"),
        ("cnn", {"kernels": []}, "args.kernels of text_student:cnn"),
        ("mlp", {"dropout": 1.0}, "args.dropout of text_student:mlp is 1.0"),
        ("mlp", {"embeddings": "bert"}, "args.embeddings .* 'fresh' or 'teacher'"),
    ],
)
def test_arguments_that_cannot_be_are_named(kind, args, said):
    with pytest.raises(ValueError, match=said):
        read_student(kind, args)
