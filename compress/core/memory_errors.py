"""Out-of-memory errors of all libraries, recognised by type or text, as one error with advice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compress.core.errors import CompressError, OutOfMemoryError
from compress.core.language import gettext

MARKS = ("bad_alloc", "bad allocation", "failed to allocate", "out of memory", "cannot allocate", "can't allocate")
"""Texts of torch, CUDA, ONNX Runtime and the C++ library, whose errors have no common type."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: `MemoryError`, `torch.OutOfMemoryError`, or an error with a known text."""
    return isinstance(error, MemoryError) or any(mark in str(error).lower() for mark in MARKS)


@contextmanager
def name_memory_errors(work: str, advice: str) -> Iterator[None]:
    """Turn a failed allocation in the block into an error without traceback.

    Args:
        work: Name of the work, such as that of a stage.
        advice: What the user can do.

    Raises:
        OutOfMemoryError: An allocation failed. Other errors pass.
    """
    try:
        yield
    except (CompressError, OSError):  # these errors have a useful message: an OSError names the file or the limit
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        words = " ".join(str(error).split())[:200]
        raise OutOfMemoryError(
            gettext(
                "{work} ran out of memory{reason}; {advice}", work=work, reason=f" ({words})" if words else "", advice=advice
            )
        ) from error
