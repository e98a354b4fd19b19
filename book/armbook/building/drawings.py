"""A figure's SVG as a page holds it: in the colours of the page, without ids that two figures could share, and small."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

from armbook.hovering import VALUES
from armbook.style import EXPORTED, GREY
from armbook.switching import ENTRY, ROW
from armlib.errors import InputError

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
REFERENCE = re.compile(r"url\(#([^)]+)\)")
PARTS = {"axes": "axes", "legend": "legend", "matplotlib.axis": "axis", "subfigure": "subfigure"}  # that a page moves
DRAWN = ("d", "x", "y", "width", "height", "transform", "points")

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def inline(svg: str, prefix: str, alt: str) -> tuple[str, str]:
    """A drawing that stands in the HTML of a page, and the name under which it was exported, empty where it was not.

    Args:
        svg: as matplotlib writes it, with the marks of `armbook.style.save`.
        prefix: begins every id that is left, unlike that of any other drawing on the page.
        alt: what stands for the drawing where it is not seen.

    Raises:
        InputError: this is not SVG.
    """
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise InputError(f"a figure is not SVG: {error}") from error
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    named = [element.get("id", "") for element in root.iter()]
    name = next((each.removeprefix(EXPORTED) for each in named if each.startswith(EXPORTED)), "")
    used = {target for element in root.iter() for target in _references(element)} - {""}
    for element in root.iter():
        _tidy(element, prefix, used)
    # What matplotlib says in a style sheet, which would hold for the whole page.
    root.attrib |= {"class": "drawing", "role": "img", "style": "stroke-linejoin: round; stroke-linecap: butt"}
    if alt:
        root.set("aria-label", alt)
    return re.sub(r">\s*\n\s*<", "><", ElementTree.tostring(root, encoding="unicode")), name


def _references(element: ElementTree.Element) -> list[str]:
    found = [target for value in element.attrib.values() for target in REFERENCE.findall(value)]
    return [*found, element.get(f"{{{XLINK}}}href", "").removeprefix("#")]


def _tidy(element: ElementTree.Element, prefix: str, used: set[str]) -> None:
    identity = element.attrib.pop("id", "")
    if identity.startswith(VALUES):
        about = json.loads(identity.removeprefix(VALUES))
        if entries := about.pop("entries", None):
            element.set("data-entries", " ".join(entries))
        if about:
            element.attrib |= {"class": "values", "data-values": json.dumps(about, ensure_ascii=False)}
    elif identity.startswith(ENTRY):
        element.set("data-entry", identity.removeprefix(ENTRY))
    elif identity.startswith(ROW):
        element.attrib |= {"class": "axes", "data-row": identity.removeprefix(ROW)}
    elif identity in used:
        element.set("id", prefix + identity)
    elif kind := PARTS.get(identity.rpartition("_")[0]):
        element.set("class", kind)
    for key, value in element.attrib.items():
        if key in DRAWN:
            element.set(key, re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value))
        elif key == f"{{{XLINK}}}href" and value.startswith("#"):
            element.set(key, f"#{prefix}{value[1:]}")
        else:
            element.set(key, REFERENCE.sub(rf"url(#{prefix}\1)", value))
    if style := element.get("style"):
        style = re.sub(r"font-family: [^;]*DejaVu Sans', [^;]*(; )?", "", style)  # the page's style names the letters
        element.set("style", style.replace(GREY, "currentColor"))
