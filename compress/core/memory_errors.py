"""Out of memory: recognised in the words of every library, and turned into an error that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compress.core.errors import CompressError, OutOfMemoryError

MARKS = ("bad_alloc", "bad allocation", "failed to allocate", "out of memory", "cannot allocate", "can't allocate")
"""Words of torch, CUDA, ONNX Runtime and the C++ library, which raise errors of no common type."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: `MemoryError`, `torch.OutOfMemoryError`, or a library's own error with its words."""
    return isinstance(error, MemoryError) or any(mark in str(error).lower() for mark in MARKS)


@contextmanager
def name_memory_errors(work: str, advice: str) -> Iterator[None]:
    """Turn a failed allocation within the block into an error without traceback.

    Args:
        work: What was computed, such as the name of a stage.
        advice: What to do.

    Raises:
        OutOfMemoryError: An allocation failed. Other errors pass.
    """
    try:
        yield
    except (CompressError, OSError):  # these have their own words; an OSError names the file or the limit
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        words = " ".join(str(error).split())[:200]
        raise OutOfMemoryError(f"{work} ran out of memory{f' ({words})' if words else ''}; {advice}") from error
