"""The reference names what the package offers, and every name leads to a chapter and back, in a small book of its own."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from functools import cached_property
from pathlib import Path
from types import FunctionType
from typing import Any, ForwardRef, NamedTuple, Protocol

import pytest
import yaml
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

import armlib
import armlib.losses
from armbook.building.checks import pages
from armbook.extensions.api_reference import EXPLAINED, OVERVIEW, _sentence
from armbook.extensions.docstrings import _listed, _single, docstring, signature
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


class Pair(NamedTuple):
    first: Float[Tensor, " B"]  # noqa: F821
    second: int = 0


class Maker(Protocol):
    def make(self) -> None: ...


def test_signatures_have_neither_forward_references_nor_what_python_fills_in() -> None:
    assert isinstance(inspect.signature(Pair).parameters["first"].annotation, ForwardRef)
    assert signature(None, "class", "Pair", Pair, None, None, None) == ("(first: Float[Tensor, 'B'], second: int = 0)", None)
    assert signature(None, "class", "Maker", Maker, None, None, None) == ("", None)


def test_measures_and_bars_are_text() -> None:
    text = "nDCG@10 of |d|, ``KL(a || b)`` and ``R@1000\n|e|``.\n\nExamples:\n    >>> 1 | 2  # P@1\n    3 | 4\n\n    |f|"
    lines = text.split("\n")
    docstring(None, "function", "f", None, None, lines)
    expected = text.replace("nDCG@10 of |d|", r"nDCG\@10 of \|d\|").replace("    |f|", r"    \|f\|")
    assert "\n".join(lines) == expected


def test_attributes_that_share_a_line_get_one_each() -> None:
    text = "What.\n\nAttributes:\n    low, high: bounds,\n        of both.\n    margin: a third.\n\nRaises:\n    InputError: never."
    expected = text.replace(
        "low, high: bounds,\n        of both.", "low: bounds,\n        of both.\n    high: bounds,\n        of both."
    )
    assert "\n".join(_single(text.split("\n"))) == expected
    assert _single(["What.", "", "low, high: in no section."]) == ["What.", "", "low, high: in no section."]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Margins (Hofstätter et al. 2020, arXiv:2010.02666). More.", "Margins (Hofstätter et al. 2020, arXiv:2010.02666)"),
        ("In total. More.", "In total"),
        ("Some; others.", "Some"),
        ("Whole.", "Whole"),
    ],
)
def test_the_first_sentence_is_whole(text: str, first: str) -> None:
    assert _sentence(text) == first


def documented(name: str) -> Any:
    """What the reference documents under a name."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


DESCRIBED = (FunctionType, classmethod, staticmethod, property, cached_property)


def described_by(kind: type, member: str) -> str | None:
    """The module of the class from which a method or property has its docstring."""
    classes = (base for base in kind.__mro__ if isinstance(vars(base).get(member), DESCRIBED) and vars(base)[member].__doc__)
    return next((base.__module__ for base in classes), None)


def test_members_are_described_by_this_package() -> None:
    pytest.importorskip("sentence_transformers")
    things = {name: documented(name) for name in DOCUMENTED if ".pyterrier." not in name}  # which not every machine has
    members = [
        (kind, member)
        for kind in things.values()
        if inspect.isclass(kind)
        for member, value in vars(kind).items()
        if isinstance(value, DESCRIBED) and not member.startswith("_")
    ]
    assert len(members) > 50
    assert [one for one in members if not str(described_by(*one)).startswith("armlib.")] == []


def test_several_returned_values_are_a_list() -> None:
    text = (
        "What.\n\nReturns:\n    run: the first,\n        on two lines.\n    about: the second.\n\nRaises:\n    InputError: never."
    )
    made = "\n".join(_listed(text.splitlines()))
    assert (
        "Returns:\n    Several values, in this order.\n\n    - run: the first,\n      on two lines.\n    - about: the second."
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
    options = {"extensions": ["myst_parser", "armbook.extensions.api_reference"], "nitpicky": True}
    return build(source, options)


def build(source: Path, options: dict[str, Any]) -> Path:
    """Build a book, and leave docutils as it was for the next one."""
    options |= {"html_theme": "basic"}
    with docutils_namespace():
        app = Sphinx(
            str(source), None, str(source / "out"), str(source / "trees"), "html", options, status=None, warningiserror=True
        )
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


# The reference of this book, by its own settings


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BeautifulSoup]:
    """The pages of the API reference by name, as the book's settings make them, without the chapters."""
    source = tmp_path_factory.mktemp("own")
    (source / "book").mkdir()
    for each in SOURCES:
        (source / "book" / each.name).write_text(each.read_text("utf8"))
    listed = "\n".join(one.stem for one in SOURCES)
    (source / "book" / "api.md").write_text(f"# API\n\n```{{api-overview}}\n```\n\n```{{toctree}}\n{listed}\n```\n")
    (source / "index.md").write_text("# Index\n\n```{toctree}\nbook/api\n```\n")
    settings = yaml.safe_load((REPOSITORY / "_config.yml").read_text("utf8"))["sphinx"]["config"]
    options = {key: value for key, value in settings.items() if re.match(r"autodoc|napoleon|default_role", key)}
    options |= {"extensions": ["myst_parser", "sphinx.ext.napoleon", "armbook.extensions.api_reference"]}
    built = build(source, options)
    return {name: page(built, f"book/{name}") for name in ("api", *(one.stem for one in SOURCES))}


def test_no_measure_is_an_e_mail_address(reference: dict[str, BeautifulSoup]) -> None:
    assert [link["href"] for made in reference.values() for link in made.select("a[href^=mailto]")] == []
    assert "nDCG@10 of the weights" in reference["api_training"].text


def test_fields_of_the_reference_are_those_of_docstrings(reference: dict[str, BeautifulSoup]) -> None:
    titles = {title.text for made in reference.values() for title in made.select("dl.field-list > dt")}
    assert titles <= {"Parameters:", "Variables:", "Returns:", "Raises:", "Warns:"}  # "Type:" would be half of a sentence


def test_what_is_returned_is_plain_text(reference: dict[str, BeautifulSoup]) -> None:
    titles = [title for made in reference.values() for title in made.select("dl.field-list > dt") if title.text == "Returns:"]
    returned = [title.find_next_sibling("dd") for title in titles]
    assert len(returned) > 10
    assert [one.text for one in returned if one.select("em, strong, dl, dt")] == []


def test_names_of_arguments_and_attributes_are_whole(reference: dict[str, BeautifulSoup]) -> None:
    names = [name.text for made in reference.values() for name in made.select("dl.field-list > dd strong")]
    assert {"queries", "positives", "low", "high", "validate_every"} <= set(names)
    types = [kind.text for made in reference.values() for kind in made.select("dl.field-list > dd em")]
    assert [text for text in (*names, *types) if text.endswith(",")] == []


@pytest.mark.parametrize(
    "garbled", ["Alias for field number", "ForwardRef", r"\|", r"\@", "\ue000", "Built-in immutable", "**kwargs: Any"]
)
def test_the_reference_has_nothing_garbled(reference: dict[str, BeautifulSoup], garbled: str) -> None:
    assert [name for name, made in reference.items() if garbled in made.text] == []


def test_values_of_an_experiment_are_described(reference: dict[str, BeautifulSoup]) -> None:
    entry = reference["api_training"].find(id="armlib.Experiment").find_parent("dl")
    names = [name.text for name in entry.select_one("dl.field-list").select("strong")]
    assert set(armlib.Experiment.__dataclass_fields__) <= set(names)
    assert "bi-encoder('NAME')" in entry.text
