from pathlib import Path

import pytest

from compress.core.errors import CompressError
from compress.core.user_path import user_path


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "y" * 256, "é" * 128, "/".join(["x" * 200] * 21), "~nosuchuser/x"])
def test_a_path_that_no_file_system_holds_is_refused(text: str) -> None:
    with pytest.raises(CompressError, match="cannot be a path") as caught:
        user_path(text)
    str(caught.value).encode()
    assert len(str(caught.value)) < 200


def test_home_and_base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/x") == tmp_path / "x"
    assert user_path("x", tmp_path) == tmp_path / "x"
    assert user_path("~/x", Path("other")) == tmp_path / "x"
    assert user_path("x") == Path("x")
    assert user_path("y" * 255).name == "y" * 255
