from __future__ import annotations

from collections.abc import Callable

import pytest

from compress.core.network_spec import NetworkSpec, image_spec

MakeSpec = Callable[..., NetworkSpec]


@pytest.fixture
def make_spec() -> MakeSpec:
    def make(size: int = 32, classes: int = 10, channels: int = 3) -> NetworkSpec:
        return image_spec(
            channels=channels,
            height=size,
            width=size,
            mean=(0.5,) * channels,
            std=(0.5,) * channels,
            classes=tuple(f"class{index}" for index in range(classes)),
        )

    return make
