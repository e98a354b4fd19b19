"""The API reference: signatures as the source writes them, each name linked to the chapter that explains it, and back.

``EXPLAINED`` says which chapter explains what. Where in it, is looked up in the page: the first section whose code or text has
the name.
"""

from __future__ import annotations

import dataclasses
import html
import inspect
import re
from collections.abc import Iterator
from typing import Any, ForwardRef

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

OVERVIEW = "book/api"  # the page with the table of all names; those of the reference start with it
_CHAPTERS = {
    "02_loss_explorer": (
        "armlib.losses.MarginLoss",
        "armlib.losses.LossValue",
        "armlib.losses.Loss",
        "armlib.losses.EmbeddedBatch",
        "armlib.losses.parse_loss",
        "armlib.losses.similarities",
        "armlib.losses.relevance_margins",
        "armlib.train",
        "armlib.Settings",
        "armlib.training.loop.TrainingRun",
        "armlib.training.loop.Batches",
        "armlib.training.trace.NotFinite",
    ),
    "03_data_and_encoders": (
        "armlib.BiEncoder",
        "armlib.load_collection",
        "armlib.load_encoder",
        "armlib.read_qrels",
        "armlib.evaluate",
        "armlib.evaluation.measures.Evaluation",
        "armlib.retrieval.rankings.rerank",
    ),
    "04_static_targets": (
        "armlib.losses.Static",
        "armlib.losses.Target",
        "armlib.losses.parse_target",
        "armlib.losses.in_batch_margins",
    ),
    "05_adaptive_targets": ("armlib.losses.Adaptive", "armlib.losses.adaptive_targets"),
    "06_distributed_targets": ("armlib.losses.Distributed", "armlib.losses.distributed_targets"),
    "08_comparison": (
        "armlib.compare",
        "armlib.evaluation.equivalence.compare_runs",
        "armlib.evaluation.equivalence.equivalence",
        "armlib.evaluation.equivalence.Equivalence",
        "armlib.evaluation.measures.measure_runs",
        "armlib.retrieval.rankings.full_ranking",
        "armlib.retrieval.run_files.read_run",
        "armlib.retrieval.run_files.write_run",
    ),
    "09_baselines": ("armlib.losses.InfoNCE", "armlib.losses.MarginMSE", "armlib.losses.ListKL", "armlib.losses.TeacherScores"),
    "12_ablations": ("armlib.losses.Mean", "armlib.losses.Variance", "armlib.losses.mean_targets", "armlib.losses.target_variance"),
    "14_use_it": (
        "armlib.Searcher",
        "armlib.retrieval.search.Hit",
        "armlib.fine_tune",
        "armlib.integrations.in_memory.FineTuned",
        "armlib.data.in_memory.InMemory",
        "armlib.errors.InputError",
        "armlib.integrations.sentence_transformers.AdaptiveMarginLoss",
        "armlib.integrations.sentence_transformers.CachedAdaptiveMarginLoss",
        "armlib.integrations.sentence_transformers.RetrievalEvaluator",
        "armlib.integrations.sentence_transformers.batch_sampler",
        "armlib.integrations.sentence_transformers.column_arguments",
        "armlib.integrations.pyterrier.Retriever",
        "armlib.integrations.pyterrier.Reranker",
    ),
    "15_what_the_index_costs": (
        "armlib.retrieval.exact.ExactSearch",
        "armlib.retrieval.indexes.build_index",
        "armlib.retrieval.indexes.ApproximateIndex",
    ),
    "16_how_this_was_run": (
        "armlib.Experiment",
        "armlib.RunStore",
        "armlib.load_profile",
        "armlib.experiments.profile.Profile",
        "armlib.experiments.result.Result",
    ),
}
EXPLAINED = {name: f"notebooks/{chapter}" for chapter, names in _CHAPTERS.items() for name in names}
"""By documented name, the page of the book that explains it."""
_FILLED = "api-overview"  # the class of what the directive leaves to be filled
_COLON = "\ue000"  # of private use: what stands for a colon that napoleon must not see
# A literal, an example with what it prints, or (alone in its match) a character that would be markup.
_MARKUP = re.compile(r"(?s:``.+?``)|^ *>>> .*(?:\n *\S.*)*|(?<!\\)[|@]", re.MULTILINE)


class Overview(SphinxDirective):
    """``{api-overview}``: tables of everything that the reference has, filled in when all pages have been read."""

    def run(self) -> list[nodes.Node]:
        return [nodes.container(classes=[_FILLED])]


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


def missing(app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contents: nodes.TextElement) -> nodes.Node | None:
    """What the reference names by another path is linked; what it does not have is plain text, on its own pages alone."""
    if node.get("refdomain") != "py" or not str(node["refdoc"]).startswith(OVERVIEW):
        return None
    found = _documented(env, node["reftarget"])
    if found is None or app.builder is None:
        return contents
    page, anchor = found
    return make_refnode(app.builder, node["refdoc"], page, anchor, contents, node["reftarget"])


def _documented(env: BuildEnvironment, name: str) -> tuple[str, str] | None:
    """Page and anchor of a documented thing by the last part of its name, if only one has it."""
    domain = env.get_domain("py")
    assert isinstance(domain, PythonDomain)
    last = name.rpartition(".")[2]
    if name in domain.objects:
        return domain.objects[name].docname, domain.objects[name].node_id
    same = {
        (one.docname, one.node_id) for known, one in domain.objects.items() if known in EXPLAINED and known.endswith(f".{last}")
    }
    return same.pop() if len(same) == 1 else None


def link_entries(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Write under every entry of the reference where the book explains it, and fill the table of the overview."""
    if not page.startswith(OVERVIEW):
        return
    for entry in doctree.findall(addnodes.desc):
        [name] = [str(one) for line in entry.findall(addnodes.desc_signature) for one in line["ids"]][:1]
        content = next(entry.findall(addnodes.desc_content))
        explained = _explained(app.env, name)
        if explained:
            content.insert(0, nodes.paragraph("", "Explained in ", _link(app, page, *explained), nodes.Text(".")))
    for place in list(doctree.findall(nodes.container)):
        if _FILLED in place["classes"]:
            place += _overview(app, page)


def _explained(env: BuildEnvironment, name: str) -> tuple[str, str, str] | None:
    """Page, anchor and title of the section that explains a name; nothing where this book lacks the page."""
    page = EXPLAINED.get(name)
    if page not in env.found_docs:
        return None
    word = re.compile(rf"\b{re.escape(name.rpartition('.')[2])}\b")
    for node in env.get_doctree(page).findall(lambda one: isinstance(one, nodes.literal | nodes.literal_block)):
        section = node.parent
        while section is not None and not isinstance(section, nodes.section):
            section = section.parent
        if word.search(node.astext()) and section is not None:
            title = next(section.findall(nodes.title)).astext()
            return page, section["ids"][0], title
    return page, "", env.titles[page].astext()


def _link(app: Sphinx, from_page: str, page: str, anchor: str, title: str) -> nodes.reference:
    assert app.builder is not None
    return make_refnode(app.builder, from_page, page, anchor, nodes.Text(title))


def _overview(app: Sphinx, page: str) -> list[nodes.Node]:
    """For each page of the reference, under its title, its names, what they are, and where they are explained."""
    return [part for about in app.env.toctree_includes.get(OVERVIEW, ()) for part in _table(app, page, about)]


def _table(app: Sphinx, page: str, about: str) -> list[nodes.Node]:
    group = nodes.tgroup(cols=3)
    group += [nodes.colspec(colwidth=width) for width in (3, 5, 3)]
    head, body = nodes.thead(), nodes.tbody()
    head += _row(*(nodes.Text(text) for text in ("name", "what it is", "explained in")))
    for name, first in _entries(app.env, about):
        place, found = _explained(app.env, name), _documented(app.env, name)
        if found:
            shown = _link(app, page, *found, "")
            shown.children[:] = []
            shown += nodes.literal("", name.rpartition(".")[2])
            body += _row(shown, nodes.Text(first), _link(app, page, *place) if place else nodes.Text(""))
    group += [head, body]
    return [nodes.rubric("", "", _link(app, page, about, "", app.env.titles[about].astext())), nodes.table("", group)]


def _row(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def _entries(env: BuildEnvironment, page: str) -> Iterator[tuple[str, str]]:
    """The names that a page documents, each with the first sentence of its docstring, in their order."""
    for entry in env.get_doctree(page).findall(addnodes.desc):
        name = next(entry.findall(addnodes.desc_signature))["ids"][0]
        if name in EXPLAINED:
            content = next(entry.findall(addnodes.desc_content))
            first = next((node.astext() for node in content if isinstance(node, nodes.paragraph)), "")
            yield name, _sentence(first)


def _sentence(text: str) -> str:
    """The first sentence, up to a colon or semicolon; "et al." ends none."""
    return re.split(r"(?<!\bal)[.:;](?: |$)", text)[0]


def link_chapters(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Under a chapter, what of the API reference it explains."""
    if doctree is None or app.builder is None or "body" not in context:
        return
    links = []
    for name in (name for name, explained in EXPLAINED.items() if explained == page):
        found = _documented(app.env, name)
        if found:
            address = f"{app.builder.get_relative_uri(page, found[0])}#{found[1]}"
            links.append(f'<a href="{html.escape(address)}"><code>{html.escape(name.removeprefix("armlib."))}</code></a>')
    if links:
        context["body"] += f'<p class="in-the-api">In the API reference: {", ".join(links)}.</p>\n'


def link_back(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """On a page of source, leave out links to entries that there are not: viewcode takes all of a module to be under one name."""
    if page.startswith("_modules/") and "body" in context:
        objects = app.env.get_domain("py").data["objects"]
        link = re.compile(r'<a class="viewcode-back" href="[^"#]*#([^"]+)">[^<]*</a>')
        context["body"] = link.sub(lambda found: found[0] if found[1] in objects else "", context["body"])


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of what is explained in a chapter and not in the reference, where there is one."""
    if OVERVIEW in env.found_docs:
        absent = [name for name in EXPLAINED if _documented(env, name) is None]
        for name in absent:
            logging.getLogger(__name__).warning("%s is not in the API reference", name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive, and what is done to pages when all have been read."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("api-overview", Overview)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", docstring, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", restored, priority=600)
    app.connect("autodoc-skip-member", without_fields)
    app.connect("missing-reference", missing)
    app.connect("env-check-consistency", check)
    app.connect("doctree-resolved", link_entries)
    app.connect("html-page-context", link_chapters)
    app.connect("html-page-context", link_back)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
