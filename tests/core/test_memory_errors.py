import pytest
import torch

from compress.core.errors import OutOfMemoryError, StoreError
from compress.core.memory_errors import is_out_of_memory, name_memory_errors


def test_an_allocation_that_torch_refuses_becomes_an_error_that_says_what_to_do():
    message = r"the stage train ran out of memory \(.*\); lower batch_size"
    with pytest.raises(OutOfMemoryError, match=message) as caught, name_memory_errors("the stage train", "lower batch_size"):
        torch.empty(10**15)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 9"),
    ],
)
def test_every_library_has_its_own_words(error):
    assert is_out_of_memory(error)
    with pytest.raises(OutOfMemoryError), name_memory_errors("it", "use less"):
        raise error


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), ValueError("x"), StoreError("out of memory"), KeyboardInterrupt()]
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, name_memory_errors("it", "use less"):
        raise error
    assert caught.value is error
