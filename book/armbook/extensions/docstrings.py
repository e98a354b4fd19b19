"""A Sphinx extension: signatures as the source writes them, and docstrings so that napoleon and docutils read what is meant."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, ForwardRef

from sphinx.application import Sphinx

_COLON = "\ue000"  # of private use: what stands for a colon that napoleon must not see
# A literal, an example with what it prints, or (alone in its match) a character that would be markup.
_MARKUP = re.compile(r"(?s:``.+?``)|^ *>>> .*(?:\n *\S.*)*|(?<!\\)[|@]", re.MULTILINE)


def signature(app: Sphinx, what: str, name: str, thing: Any, options: Any, given: str | None, result: str | None) -> Any:
    """The parameters and the result as the source writes them, such as ``Float[Tensor, "B D"]``; None leaves them to autodoc."""
    if what not in ("class", "function", "method"):
        return None
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return None
    parameters = list(found.parameters.values())
    if what == "method" and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    unknown = inspect.Signature.empty
    returned = found.return_annotation
    shown = found.replace(parameters=[_plain(one) for one in parameters], return_annotation=unknown)
    if what == "class" and [one.kind for one in parameters] == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]:
        return "", None  # what a protocol or a base class is made with, says nothing
    written = None if what == "class" or returned is unknown else _written(returned)
    return str(shown), written


class _Verbatim:
    """What prints without the quotes of a string, in a signature."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    annotation = parameter.annotation
    if annotation is not inspect.Parameter.empty:
        annotation = _Verbatim(_written(annotation))
    default = parameter.default
    if default is not inspect.Parameter.empty and not isinstance(default, bool | int | float | str | tuple | None):
        default = _Verbatim("...")
    return parameter.replace(annotation=annotation, default=default)


def _written(annotation: Any) -> str:
    if isinstance(annotation, ForwardRef):  # as named tuples keep them
        annotation = annotation.__forward_arg__
    if not isinstance(annotation, str):
        return str(getattr(annotation, "__name__", annotation))
    return re.sub(r"(?<=['\"]) (?=[\w*])", "", annotation)  # jaxtyping has " B", for the sake of linters


def without_fields(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples, which the docstring of the class describes and Python's only numbers."""
    return True if (inspect.getdoc(thing) or "").startswith("Alias for field number") else None


def docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Write a docstring so that napoleon and docutils read it as it is meant; `restored` follows.

    A bar is an absolute value and no substitution, and nDCG@10 no e-mail address. The fields of a dataclass that say in their
    metadata what they are ``about`` are listed. Attributes that share a line get one each, as napoleon does it for arguments
    alone. Several returned values are a list. A colon in the first line of a property or of ``Returns:`` divides a sentence:
    napoleon would take what is before it for a type, which signatures have.
    """
    made = _single(_with_fields(lines, thing))
    made = _listed(_MARKUP.sub(lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", "\n".join(made)).split("\n"))
    first = _section(made, "Returns:")[:1]
    if what in ("attribute", "data", "property"):
        first = [0, *first]
    for place in first:
        if place < len(made):
            made[place] = made[place].replace(":", _COLON)
    lines[:] = made


def restored(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """After napoleon: the colons that it was not to see."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _section(lines: list[str], title: str) -> range:
    """The places of the lines under a title of a docstring."""
    if title not in lines:
        return range(0)
    start = lines.index(title) + 1
    end = next((place for place in range(start, len(lines)) if lines[place] and not lines[place].startswith(" ")), len(lines))
    return range(start, end)


def _with_fields(lines: list[str], thing: Any) -> list[str]:
    """The lines of a docstring with attributes for the fields of a dataclass that say what they are about."""
    about = dataclasses.fields(thing) if inspect.isclass(thing) and dataclasses.is_dataclass(thing) else ()
    code = re.compile(r"[\w-]+(?:\([^()]+\)|='\w+')")  # such as static(0.3), whose quotes are to stay straight
    texts = {one.name: code.sub(r"``\g<0>``", one.metadata["about"]) for one in about if "about" in one.metadata}
    if not texts:
        return lines
    listed = [f"    {name}: {text}." for name, text in texts.items()]
    place = next((place for place, line in enumerate(lines) if line in ("Raises:", "Examples:")), len(lines))
    return [*lines[:place], "Attributes:", *listed, "", *lines[place:]]


def _single(lines: list[str]) -> list[str]:
    """The lines of a docstring with an entry for each of the attributes that share one."""
    places = _section(lines, "Attributes:")
    if not places:
        return lines
    shared = re.compile(r"^ {4}(\w+(?:, \w+)+)(: .*(?:\n {5}.*)*)", re.MULTILINE)
    block = "\n".join(lines[places.start : places.stop])
    block = shared.sub(lambda found: "\n".join(f"    {name}{found[2]}" for name in found[1].split(", ")), block)
    return [*lines[: places.start], *block.split("\n"), *lines[places.stop :]]


def _listed(lines: list[str]) -> list[str]:
    """The lines of a docstring, with bullets where ``Returns:`` names several values, which napoleon reads as one."""
    places = _section(lines, "Returns:")
    block = lines[places.start : places.stop]
    named = [place for place, line in enumerate(block) if re.match(r" {4}\w+: ", line)]
    if len(named) < 2 or named[0]:
        return lines
    # A line that goes on stands under the text of its bullet: further in, it would make the first one a term that is defined.
    bulleted = [f"    - {line[4:]}" if place in named else f"      {line.strip()}".rstrip() for place, line in enumerate(block)]
    return [*lines[: places.start], "    Several values, in this order.", "", *bulleted, *lines[places.stop :]]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what writes entries with autodoc."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", docstring, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", restored, priority=600)
    app.connect("autodoc-skip-member", without_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
