"""The API reference: each name linked to the chapter that explains it, and back; `armbook.extensions.docstrings` writes entries.

``EXPLAINED`` says which chapter explains what. Where in it, is looked up in the page: the first section whose code or text has
the name.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

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


class Overview(SphinxDirective):
    """``{api-overview}``: tables of everything that the reference has, filled in when all pages have been read."""

    def run(self) -> list[nodes.Node]:
        return [nodes.container(classes=[_FILLED])]


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
    app.setup_extension("armbook.extensions.docstrings")
    app.add_directive("api-overview", Overview)
    app.connect("missing-reference", missing)
    app.connect("env-check-consistency", check)
    app.connect("doctree-resolved", link_entries)
    app.connect("html-page-context", link_chapters)
    app.connect("html-page-context", link_back)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
