"""The style of figures: what tells variants and encoders apart."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pydata_sphinx_theme
import pytest
import sphinx_book_theme
from matplotlib.colors import to_rgb

from armbook import style
from books import REPOSITORY

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static/styles/pydata-sphinx-theme.css"
BOOK_THEME = Path(sphinx_book_theme.__file__).parent / "theme/sphinx_book_theme/static/styles/sphinx-book-theme.css"
SCHEMES = ("light", "dark")


def luminance(colour) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other) -> float:
    """As WCAG 2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def of_theme(name: str, scheme: str) -> str:
    """A colour of the theme, which the book's theme may set again."""
    blocks = [
        block
        for file in (THEME, BOOK_THEME)
        for block in re.findall(rf'html\[data-theme="?{scheme}"?\]\{{([^}}]*)\}}', file.read_text(encoding="utf8"))
    ]
    return [value for block in blocks for value in re.findall(rf"--pst-color-{name}:(#\w+)", block)][-1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_of_figures_can_be_read(scheme) -> None:
    css = (REPOSITORY / "book" / "web" / "book.css").read_text(encoding="utf8")
    names = {
        "text-base": r"svg\.drawing \{\s*color: var\(--pst-color-([\w-]+)\)",
        "text-muted": r"chapter-facts \{ color: var\(--pst-color-([\w-]+)\)",
    }
    for name, rule in names.items():
        assert re.search(rule, css)[1] == name
        assert contrast(of_theme(name, scheme), of_theme("background", scheme)) >= 4.5
    assert contrast(style.GREY, "white") >= 4.5, "exported files are for white paper"
    assert contrast("black", "white") == 21 and contrast("#797979", "white") < 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lines_of_figures_can_be_seen(scheme) -> None:
    ground = of_theme("background", scheme)
    faint = {name: contrast(shade, ground) for name, shade in (style.COLOURS | style.BESIDE).items()}
    assert {name: value for name, value in faint.items() if value < 3} == {}


def test_what_is_saved_carries_its_name_and_dense_parts_are_pictures(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    made = []
    for _ in range(2):
        figure, axes = plt.subplots()
        axes.plot(np.arange(style.DENSE), label="dense")
        axes.plot([0, 1], [1, 0], label="thin")
        axes.scatter(np.arange(style.DENSE), np.arange(style.DENSE))
        made.append([file.read_bytes() for file in style.save(figure, "a-name")])
        plt.close(figure)
    assert made[0] == made[1], "the same data give the same bytes"
    assert figure.get_gid() == "exported-a-name" and [line.get_rasterized() for line in axes.lines] == [True, False]
    svg = made[0][0].decode()
    assert svg.count("<image") >= 1 and len(svg) < 100_000 and "values:" not in svg


def test_every_variant_has_a_colour() -> None:
    variants = ("static(0.3)", "static(1.0), in-batch", "adaptive", "adaptive, in-batch", "distributed", "mean", "variance")
    assert len({style.colour(variant) for variant in variants}) == len(variants)
    assert style.colour("static(0.3)") == style.colour("static(1.0), released-code reading")
    assert style.short_name("/models/mine/roberta") == "mine/roberta" and style.short_name("lsa/mpnet") == "lsa/mpnet"
    assert len({style.marker(f"lsa/{name}") for name in ("distilbert", "roberta", "mpnet")}) == 3
