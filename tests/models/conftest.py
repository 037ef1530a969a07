from __future__ import annotations

from collections.abc import Callable

import pytest

from compress.core.record import InputSpec

MakeSpec = Callable[..., InputSpec]


@pytest.fixture
def make_spec() -> MakeSpec:
    def make(size: int = 32, classes: int = 10, channels: int = 3) -> InputSpec:
        return InputSpec(
            channels=channels,
            height=size,
            width=size,
            mean=(0.5,) * channels,
            std=(0.5,) * channels,
            classes=tuple(f"class{index}" for index in range(classes)),
        )

    return make
