"""Formulas and the punctuation after them."""

from __future__ import annotations

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from armbook.extensions.punctuation import CLASS, Punctuation


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (r"The targets of triple :math:`i`\ . Next", ["i."]),
        (r"(a margin :math:`m`\ ), then", ["m),"]),
        (r":math:`i`\ , :math:`j`\ ; both", ["i,", "j;"]),
        (r"Of :math:`i` and :math:`k`\ -means", ["k-"]),
        (r"The end is :math:`i`", []),
    ],
)
def test_only_punctuation_is_kept_with_its_formula(text, kept) -> None:
    document = publish_doctree(text, settings_overrides={"report_level": 5})
    said = document.astext()
    Punctuation(document).apply()
    found = [node for node in document.findall(nodes.inline) if CLASS in node["classes"]]
    assert [node.astext() for node in found] == kept and document.astext() == said
    assert all(isinstance(node[0], nodes.math) for node in found)
