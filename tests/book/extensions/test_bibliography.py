"""Labels as the text cites, no two alike, and a link in every entry of this book's bibliography."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from pybtex.database import BibliographyData, parse_file, parse_string
from sphinxcontrib.bibtex.style.referencing import PersonStyle
from sphinxcontrib.bibtex.style.template import join, year

from armbook.extensions.bibliography import AuthorYear, label
from books import REPOSITORY

OURS = parse_file(str(REPOSITORY / "book" / "references.bib"), "bibtex")


def entries(text: str) -> BibliographyData:
    return parse_string(text, "bibtex")


@pytest.mark.parametrize(
    ("authors", "written"),
    [
        ("Lovelace, Ada", "Lovelace, 1843"),
        ("Lovelace, Ada and Menabrea, Luigi", "Lovelace and Menabrea, 1843"),
        ("Lovelace, Ada and Menabrea, Luigi and Babbage, Charles", "Lovelace et al., 1843"),
        ('Hofst{\\"a}tter, Sebastian', "Hofstätter, 1843"),
        ("van den Oord, Aaron", "van den Oord, 1843"),
        ("{Webis Group}", "Webis Group, 1843"),
    ],
)
def test_labels_name_authors_and_year(authors: str, written: str) -> None:
    [entry] = entries(f"@misc{{one, author = {{{authors}}}, title = {{A}}, year = {{1843}}}}").entries.values()
    assert label(entry) == written


@pytest.mark.parametrize("key", list(OURS.entries))
def test_the_label_is_what_the_text_says(key: str) -> None:
    entry = OURS.entries[key]
    style = AuthorYear()
    cited = join(sep=", ")[PersonStyle().author_or_editor_or_title(full=False), year]
    text = cited.format_data({"entry": entry, "style": Names(style)})
    assert str(text).replace("<nbsp>", " ") == label(entry)


class Names:
    """As much of a reference style as `names` asks for."""

    def __init__(self, style: AuthorYear) -> None:
        self.person = PersonStyle()
        self.format_name = self.person.style_plugin.format
        self.abbreviate_names = False


def test_no_two_entries_share_a_label() -> None:
    counts = Counter(map(label, OURS.entries.values()))
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("key", list(OURS.entries))
def test_every_entry_has_a_link(key: str) -> None:
    fields = OURS.entries[key].fields
    assert {"doi", "url", "eprint"} & set(fields)
    assert re.fullmatch(r"10\.\d{4,}/\S+", fields.get("doi", "10.1000/x")), fields["doi"]
    assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1234.12345")), fields["eprint"]
    assert fields.get("url", "https://").startswith("https://")


def test_entries_are_in_the_order_of_their_labels() -> None:
    data = entries(
        "@misc{z, author={Zuse, K}, title={A}, year={1941}}@misc{a, author={Ábel, A}, title={B}, year={1990}}"
        "@misc{b, author={Abel, A}, title={C}, year={1989}}"
    )
    formatted = list(AuthorYear().format_entries(data.entries.values()))
    assert [entry.label for entry in formatted] == ["Abel, 1989", "Ábel, 1990", "Zuse, 1941"]
