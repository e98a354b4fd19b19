"""The reference names what the package offers, and every name leads to a chapter and back, in a small book of its own."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx

import armlib
import armlib.losses
from armbook.building.checks import pages
from armbook.extensions.api_reference import EXPLAINED, OVERVIEW, _listed, signature
from books import REPOSITORY

SOURCES = sorted((REPOSITORY / "book").glob("api_*.md"))
DOCUMENTED = [name for source in SOURCES for name in re.findall(r"^\.\. auto\w+:: (\S+)$", source.read_text("utf8"), re.MULTILINE)]


def test_every_name_is_documented_once_and_explained() -> None:
    assert [name for name, count in Counter(DOCUMENTED).items() if count > 1] == []
    assert set(DOCUMENTED) == set(EXPLAINED)


def test_chapters_that_explain_are_pages_of_the_book() -> None:
    assert set(EXPLAINED.values()) <= set(pages(REPOSITORY))
    assert {OVERVIEW, *(f"book/{source.stem}" for source in SOURCES)} <= set(pages(REPOSITORY))


def test_what_the_package_offers_is_in_the_reference() -> None:
    offered = {f"armlib.{name}" for name in armlib.__all__} | {f"armlib.losses.{name}" for name in armlib.losses.__all__}
    from armlib.integrations import sentence_transformers

    offered |= {f"armlib.integrations.sentence_transformers.{name}" for name in sentence_transformers.__all__}
    tables = {"armlib.losses.ERRORS", "armlib.losses.LOSSES", "armlib.losses.READINGS"}  # that register; users name what is in them
    twice = {"armlib.MarginLoss"}  # stands under armlib.losses
    assert offered - tables - twice <= set(DOCUMENTED)


def function(queries: Float[Tensor, "B D"], *, k: int = 1000, kind: type = dict) -> Float[Tensor, ""]:  # noqa: F821
    """Something to sign."""


def test_signatures_are_those_of_the_source() -> None:
    assert signature(None, "function", "function", function, None, None, None) == (
        "(queries: Float[Tensor, 'B D'], *, k: int = 1000, kind: type = ...)",
        "Float[Tensor, '']",
    )
    assert signature(None, "class", "class", armlib.Settings, None, None, None)[1] is None
    assert signature(None, "attribute", "x", 3, None, None, None) is None


def test_several_returned_values_are_a_list() -> None:
    text = (
        "What.\n\nReturns:\n    run: the first,\n        on two lines.\n    about: the second.\n\nRaises:\n    InputError: never."
    )
    made = "\n".join(_listed(text.splitlines()))
    assert (
        "Returns:\n    Several values, in this order.\n\n    - run: the first,\n          on two lines.\n    - about: the second."
        in made
    )
    assert made.endswith("Raises:\n    InputError: never.")
    alone = inspect.cleandoc("What.\n\nReturns:\n    run: the only one.").splitlines()
    assert _listed(alone) == alone


BOOK = {
    "book/api": "# API\n\n```{api-overview}\n```\n\n```{toctree}\napi_all\n```\n",
    "book/api_all": "# Everything\n\n```{eval-rst}\n"
    + "\n\n".join(
        f".. py:class:: {name}\n\n   It is {name.rpartition('.')[2]}. See :py:obj:`losses.base.MarginLoss`." for name in EXPLAINED
    )
    + "\n```\n",
    "notebooks/04_static_targets": "# Static\n\nFirst.\n\n## How `Static` is used\n\nText.\n",
    "index": "# Index\n\n```{toctree}\nbook/api\nnotebooks/04_static_targets\n```\n",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a book with a reference and one chapter, of which Sphinx had nothing to warn."""
    source = tmp_path_factory.mktemp("reference")
    for name, text in BOOK.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / f"{name}.md").write_text(text)
    options = {"extensions": ["myst_parser", "armbook.extensions.api_reference"], "html_theme": "basic", "nitpicky": True}
    app = Sphinx(str(source), None, str(source / "out"), str(source / "trees"), "html", options, status=None, warningiserror=True)
    app.build()
    assert app.statuscode == 0
    return source / "out"


def page(built: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((built / f"{name}.html").read_text("utf8"), "html.parser")


def test_an_entry_leads_to_the_section_that_has_its_name(built: Path) -> None:
    entry = page(built, "book/api_all").find(id="armlib.losses.Static").find_parent("dl")
    [link] = entry.select("dd > p:first-child a")
    assert link["href"] == "../notebooks/04_static_targets.html#how-static-is-used" and link.text == "How Static is used"


def test_the_chapter_leads_back(built: Path) -> None:
    links = page(built, "notebooks/04_static_targets").select("p.in-the-api a")
    explained = [name for name, chapter in EXPLAINED.items() if chapter == "notebooks/04_static_targets"]
    assert [link["href"] for link in links] == [f"../book/api_all.html#{name}" for name in explained]


def test_the_overview_has_every_name(built: Path) -> None:
    rows = page(built, "book/api").select("table tbody tr")
    assert len(rows) == len(EXPLAINED)
    texts = {row.find_all("td")[0].text.strip(): [cell.text.strip() for cell in row.find_all("td")[1:]] for row in rows}
    assert texts["Static"] == ["It is Static", "How Static is used"] and texts["BiEncoder"] == ["It is BiEncoder", ""]


def test_a_name_by_another_path_is_linked(built: Path) -> None:
    entry = page(built, "book/api_all").find(id="armlib.BiEncoder").find_parent("dl")
    assert entry.find("a", title="losses.base.MarginLoss")["href"] == "#armlib.losses.MarginLoss"
