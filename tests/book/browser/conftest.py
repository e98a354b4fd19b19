"""Pages of a small book, and a browser to look at them with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browsing import Visitor, chromium, in_chromium, small_book, web_server


@pytest.fixture(scope="session")
def built_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages of a book with the introduction, the explorer's chapter and one of every kind of output."""
    _need_chromium()
    return small_book(tmp_path_factory.mktemp("small-book"))


@pytest.fixture(scope="session")
def addresses(built_pages: Path) -> Iterator[dict[str, str]]:
    """Where the pages of `built_pages` start, over http and as files."""
    with web_server(built_pages) as http:
        yield {"http": http, "file": built_pages.as_uri()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; for a module, since while it runs no test can start an event loop of its own."""
    _need_chromium()
    with in_chromium() as started:
        yield started


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Opens pages without a network; a test fails if one of them printed an error or asked for something it did not get."""
    with Visitor(browser) as visits:
        yield visits
        assert not visits.problems, "\n".join(visits.problems)


def _need_chromium() -> None:
    if not chromium():
        pytest.skip("chromium, which shows the book to this test, is not installed: apt-get install chromium")
