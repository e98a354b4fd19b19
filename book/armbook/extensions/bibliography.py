"""Labels of the bibliography as the text cites: ``Hofstätter et al., 2021``, and entries in the order of these labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from pybtex.database import Entry, Person
from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting import BaseSortingStyle
from sphinx.application import Sphinx

NAME = "author-year"


def label(entry: Entry) -> str:
    """The label of an entry: one or two authors by name, more as *et al.*, then the year.

    Args:
        entry: one with authors and a year; a letter behind the year, such as ``2024a``, is part of it.
    """
    authors = [_name(person) for person in entry.persons["author"]]
    names = " and ".join(authors) if len(authors) <= 2 else f"{authors[0]} et al."
    return f"{names}, {entry.fields['year']}"


def _name(person: Person) -> str:
    """The last name as it is cited; of an institution, all of it."""
    parts = [*person.prelast_names, *person.last_names]
    return str(Text.from_latex(" ".join(parts)))


class AuthorYearLabels(BaseLabelStyle):
    """`label` of every entry."""

    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        return map(label, sorted_entries)


class ByLabel(BaseSortingStyle):
    """By label, accents and capitals aside."""

    def sort(self, entries: Iterable[Entry]) -> Sequence[Entry]:
        return sorted(entries, key=lambda entry: unicodedata.normalize("NFKD", label(entry)).casefold())


class AuthorYear(Style):
    """pybtex's plain entries, labelled and sorted as they are cited."""

    default_label_style = AuthorYearLabels
    default_sorting_style = ByLabel


def setup(app: Sphinx) -> dict[str, bool]:
    """Let ``bibtex_default_style`` name the style."""
    register_plugin("pybtex.style.formatting", NAME, AuthorYear)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
