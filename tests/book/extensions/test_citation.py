"""BibTeX of this repository's CITATION.cff, read back by pybtex."""

from __future__ import annotations

import pytest
import yaml
from pybtex.database import parse_file, parse_string

from armbook.extensions.citation import ENTRIES, WIDTH, paper, software
from books import REPOSITORY

CITATION = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf8"))


def test_the_papers_entry_is_that_of_the_bibliography() -> None:
    data = parse_string(paper(CITATION), "bibtex")
    [(key, entry)] = data.entries.items()
    ours = parse_file(str(REPOSITORY / "book" / "references.bib"), "bibtex").entries[key]
    assert key == "gienapp2024" and entry.type == ours.type
    assert entry.persons["author"] == ours.persons["author"]
    assert {name: " ".join(entry.fields[name].split()) for name in ours.fields} == dict(ours.fields)


def test_the_softwares_entry_has_its_version_and_title() -> None:
    [(key, entry)] = parse_string(software(CITATION), "bibtex").entries.items()
    assert key == "armlib" and entry.type == "software" and entry.fields["version"] == CITATION["version"]
    [author] = entry.persons["author"]
    assert str(author) == "{The armlib authors}"
    released = software(CITATION | {"date-released": "2027-02-01", "repository-code": "https://example.org/armlib"})
    [entry] = parse_string(released, "bibtex").entries.values()
    assert entry.fields["year"] == "2027" and entry.fields["url"] == "https://example.org/armlib"


@pytest.mark.parametrize("name", ENTRIES)
def test_nothing_empty_is_written_and_no_line_is_long(name) -> None:
    text = ENTRIES[name](CITATION)
    assert "= {}" not in text and max(map(len, text.splitlines())) <= WIDTH
