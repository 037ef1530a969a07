"""Experiment trackers: write the curves of a running training."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from compress.core.errors import MissingPackageError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Tracker:
    """Event files for TensorBoard, or nothing.

    Args:
        name: `tensorboard` or None.
        folder: For the event files.

    Raises:
        MissingPackageError: TensorBoard is not installed.
    """

    def __init__(self, name: str | None, folder: Path) -> None:
        self._writer: SummaryWriter | None = None
        if name is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingPackageError("tensorboard", "tensorboard", "tracker: tensorboard") from error
        self._writer = SummaryWriter(str(folder))

    def add(self, epoch: int, values: dict[str, float]) -> None:
        """Write the values of one epoch."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()
