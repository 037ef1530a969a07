"""A real browser for pages; its tests are skipped where there is none."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"needs a browser: one of {', '.join(NAMES)}")
    with api.sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield instance
        instance.close()


OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Opens a file, and fails afterwards where the page reported an error or asked for anything else."""
    faults: list[str] = []
    contexts = []

    def open_file(path: Path, *, width: int = 1280, height: int = 900, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(120_000)  # a busy machine
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: None if request.url == path.as_uri() or request.url.startswith("data:")
                else faults.append(f"request: {request.url}"))  # fmt: skip
        page.goto(path.as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert faults == []
