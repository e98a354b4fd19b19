"""Notebooks that a page's download button gives: in plain Markdown, with the numbers and labels that the page shows."""

from __future__ import annotations

from pathlib import Path

import nbformat
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from armbook.building.plain_notebooks import References, citations, plain
from armbook.extensions.launch import installing


def numbers(env: BuildEnvironment) -> dict[str, str]:
    """Of every label of a figure or table, what a page calls it, such as ``Fig. 4.1``; equations by their number."""
    names = env.config.numfig_format
    found = {}
    for label, (page, anchor) in env.get_domain("std").data["anonlabels"].items():
        for kind, of_page in env.toc_fignumbers.get(page, {}).items():
            if anchor in of_page and kind in names:
                found[label] = names[kind] % ".".join(map(str, of_page[anchor]))
    for label, (page, _) in env.get_domain("math").data["objects"].items():
        number = env.toc_fignumbers.get(page, {}).get("displaymath", {}).get(f"equation-{label}")
        if number:
            found[label] = f"Eq. {'.'.join(map(str, number))}"
    return found


def write_plain(app: Sphinx, error: Exception | None) -> None:
    """Replace the notebooks below ``_sources`` in built pages."""
    if error is not None or app.builder is None or app.builder.format != "html":
        return
    env, source = app.env, Path(app.srcdir)
    cited = {key: one for file in app.config.bibtex_bibfiles for key, one in citations(source / file).items()}
    references = References({page: title.astext() for page, title in env.titles.items()}, cited, numbers(env))
    folder = Path(app.outdir) / "_sources"
    url = app.config.html_theme_options.get("repository_url")
    for file in folder.rglob("*.ipynb"):
        page = str(file.relative_to(folder).with_suffix(""))
        made = plain(nbformat.read(file, 4), page, references)
        if url:
            made.cells.insert(0, installing(url))
        nbformat.write(made, file)


def setup(app: Sphinx) -> dict[str, bool]:
    """Do it when all pages are written."""
    app.connect("build-finished", write_plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
