"""What follows a network before its results are of use, such as non-maximum suppression: in its graph, or outside. Light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from compress.core.network_spec import NetworkSpec
    from compress.tasks.base import Task


class Postprocessing(Protocol):
    """The post-processing of a task.

    Attributes:
        name: In reports.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    def task(self, spec: NetworkSpec) -> Task:
        """The task of files whose graph ends in it: names, judges and compares the results."""

    def append_to(self, model: onnx.ModelProto, spec: NetworkSpec) -> onnx.ModelProto:
        """A copy of the network's graph whose outputs are the results."""

    def run(self, outputs: Mapping[str, np.ndarray], spec: NetworkSpec) -> dict[str, np.ndarray]:
        """The results of a batch, by the names of `task`, computed by the code that ships beside the network.

        Args:
            outputs: Of the network by name, (N, …).
            spec: Of the network.
        """
