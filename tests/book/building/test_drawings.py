"""A figure's SVG becomes a part of a page."""

from __future__ import annotations

import re
from io import StringIO

import matplotlib.pyplot as plt
import pytest

from armbook import style
from armbook.building.drawings import inline
from armbook.hovering import mark_values
from armlib.errors import InputError


@pytest.fixture(scope="module")
def svg(tmp_path_factory) -> str:
    """A figure of two panels as a notebook shows it."""
    with pytest.MonkeyPatch.context() as patch, plt.rc_context(style.STYLE):
        patch.setenv("ARMLIB_FIGURES", str(tmp_path_factory.mktemp("figures")))
        figure, (left, right) = plt.subplots(1, 2)
        left.plot([0, 1, 2], [1, 3, 2], "o-", color="#c98204", label="a & b")
        left.text(0.5, 1.5, f"not a colour: {style.GREY}, 0.123456")
        right.scatter([1, 2], [2, 1])
        left.legend()
        style.save(figure, "two-panels")
        text = StringIO()
        figure.savefig(text, format="svg")
        plt.close(figure)
    return text.getvalue()


def test_a_drawing_has_its_name_and_the_colours_of_the_page(svg) -> None:
    drawing, name = inline(svg, "d1-", 'Two "panels" & more')
    assert name == "two-panels" and drawing.startswith("<svg ") and 'aria-label="Two &quot;panels&quot; &amp; more"' in drawing
    assert "fill: currentColor" in drawing and "stroke: currentColor" in drawing and "stroke: #c98204" in drawing
    assert drawing.count(style.GREY) == 1 and f"not a colour: {style.GREY}, 0.123456" in drawing
    assert "<style" not in drawing and "<metadata" not in drawing and len(drawing) < 0.7 * len(svg)


def test_drawings_share_no_ids_and_find_what_they_refer_to(svg) -> None:
    drawings = [inline(svg, prefix, "x")[0] for prefix in ("d1-", "d2-")]
    ids = [re.findall(r' id="([^"]*)"', drawing) for drawing in drawings]
    assert not set(ids[0]) & set(ids[1]) and len(set(ids[0])) == len(ids[0]) > 3
    for drawing, own in zip(drawings, ids, strict=True):
        referred = set(re.findall(r'href="#([^"]*)"', drawing)) | set(re.findall(r"url[(]#([^)]*)[)]", drawing))
        assert referred == set(own)


def test_the_parts_that_a_narrow_page_moves_are_marked(svg) -> None:
    drawing, _ = inline(svg, "d1-", "x")
    assert [drawing.count(f'class="{part}"') for part in ("axes", "axis", "legend", "values")] == [2, 4, 1, 1]
    assert 'data-values="{&quot;name&quot;: &quot;a &amp; b&quot;, &quot;x&quot;: [&quot;0&quot;, &quot;1&quot;' in drawing


def test_what_a_page_switches_says_where_it_belongs() -> None:
    figure, panels = plt.subplots(2, 1)
    for axes, label in zip(panels, ("a & b", "hits"), strict=True):
        axes.set_ylabel(label)
        axes.plot([0, 1], [0, 1], color="red", label="first")
        axes.plot([0, 1], [1, 0], color="blue", label="second")
        axes.fill_between([0, 1], [0, 1], [1, 2], color="red", alpha=0.1)
    figure.legend(handles=panels[0].lines)
    mark_values(figure)
    text = StringIO()
    with plt.rc_context(style.STYLE):
        figure.savefig(text, format="svg")
    plt.close(figure)
    drawing, _ = inline(text.getvalue(), "d1-", "x")
    assert re.findall(r'class="axes" data-row="([^"]*)"', drawing) == ["a &amp; b", "hits"]
    assert re.findall(r'data-entries="([^"]*)"', drawing) == ["a0", "a0", "a1"] * 2, "bands lie below lines"
    assert re.findall(r'<g data-entry="([^"]*)"><text', drawing) == ["a0", "a1"]
    assert drawing.count("entries&quot;") == 0 and len(re.findall(r'class="values"', drawing)) == 4


def test_coordinates_are_rounded_to_what_can_be_seen(svg) -> None:
    drawing, _ = inline(svg, "d1-", "x")
    exact, rounded = (re.search(r' d="M ([\d.]+) ([\d.]+)\s+L [^"]*"[^>]*stroke: #c98204', text) for text in (svg, drawing))
    assert [round(float(each), 2) for each in exact.groups()] == [float(each) for each in rounded.groups()]
    assert not re.search(r' d="[^"]*\d\.\d{3}', drawing)


def test_what_is_no_svg_is_refused() -> None:
    with pytest.raises(InputError, match="a figure is not SVG"):
        inline("<svg><g></svg>", "d1-", "")
