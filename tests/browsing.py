"""Pages of a built book in a headless Chromium that reaches no network: what they print, ask for and show."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import nbformat.v4 as v4
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from armbook.building.pages import build
from books import REPOSITORY, bare_book

SAMPLE = "notebooks/sample"
EXPLORER = "notebooks/02_loss_explorer"
INTRODUCTION = "book/intro"
WIDE, NARROW = 1200, 400  # pixels
PATIENCE = 60_000  # milliseconds that a page may take for something on a busy machine
expect.set_options(timeout=PATIENCE)
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

# Faults that axe finds in what the book's tools write and no page of ours can change: rule, selector.
TOOLS = {
    # docutils lists sources as <div role="list">, with roles for entries that ARIA has given up.
    ("aria-allowed-role", ".citation-list"),
    ("aria-deprecated-role", ".citation-list"),
    ("aria-required-children", ".citation-list"),
}

MATHEMATICS = r"""
$$
\underbrace{\phi(q_i, d_i^+) - \phi(q_i, d_i^-)}_{\text{margin}} = \frac{1}{B^2}\sum_{i,j} (m_i - t_{ij})^2 + \sum_k (m_k - t_k)^2
$$
"""
# Cells that show what chapters show, each with its metadata.
CELLS = (
    ("count: int = 3  # rows", {"tags": ["parameters"]}),
    ("import matplotlib.pyplot as plt\nimport pandas as pd\nfrom IPython.display import Markdown", {}),
    ("from armbook import style, tables", {}),
    (
        "with plt.rc_context(style.STYLE):\n    figure, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True)\n"
        "    lines = []\n    for k, axes in enumerate(panels, 1):\n"
        "        lines += axes.plot([0, 1, 2], [k, 2 * k, 4], label='rising')\n"
        "    lines[0].axes.set_ylabel('height')\n    figure.legend(handles=lines[:1])\nexported = style.save(figure, 'line')",
        {"mystnb": {"figure": {"caption": "A line.", "name": "fig-line"}, "image": {"alt": "A line that rises."}}},
    ),
    (
        "with plt.rc_context(style.STYLE):\n"
        "    figure, panels = plt.subplots(2, 2, figsize=(6, 5), sharex=True, sharey='row')\n"
        "    for row, name in zip(panels, ('nDCG@10', 'hits')):\n        row[0].set_ylabel(name)\n"
        "        for axes in row:\n            for k, (shade, dash) in enumerate(['b-', 'b:', 'r-', 'r:']):\n"
        "                axes.plot([0, 1, 2], [k, k + 1, k + 1], color=shade, ls=dash)\n"
        "                axes.fill_between([0, 2], [k, k], [k + 1, k + 2], color=shade, alpha=0.2)\n"
        "    panels[0, 0].set_title('left')\n    panels[1, 0].set_xlabel('triples')\n"
        "    looks = {'blue': 'b-', 'red': 'r-', 'solid': 'k-', 'dotted': 'k:'}\n"
        "    handles = [plt.Line2D([], [], color=a, ls=b, label=name) for name, (a, b) in looks.items()]\n"
        "    figure.legend(handles=handles, loc='outside lower center', ncols=4)\n"
        "exported += style.save(figure, 'rows')",
        {
            "tags": ["remove-input"],
            "mystnb": {"figure": {"caption": "Rows.", "name": "fig-rows"}, "image": {"alt": "Lines in two rows."}},
        },
    ),
    ("columns = {f'a column with a name {k}': [k / 7] * count for k in range(9)}", {}),
    ("tables.show(pd.DataFrame(columns), 'names', 'Long names.')", {"tags": ["remove-input"]}),
    ("numbers = [12, 9, 1_980_000, 3, *range(20, 34)]\ntimes = ['15:07'] * 17 + ['2:30']", {}),
    ("many = pd.DataFrame({'name': [f'row {k}' for k in range(18)], 'count': numbers, 'time': times})", {"tags": ["remove-input"]}),
    ("tables.show(many, 'many', 'Many rows.')", {"tags": ["remove-input"]}),
    ("heads = [(f'collection {k}', name) for k in range(4) for name in ('nDCG@10', 'R@1000')]", {}),
    ("scores = {head: ['0.647 ± 0.004 †'] for head in heads}", {}),
    ("tables.show(pd.DataFrame(scores), 'wide', 'Many columns.')", {"tags": ["remove-input"]}),
    ("Markdown(f'*{count} rows*, by `pandas`.')", {}),
    ("print('a long line ' * 20)", {}),
)


def chromium() -> str | None:
    """The browser's program, where there is one."""
    return shutil.which("chromium")


@contextmanager
def in_chromium() -> Iterator[Browser]:
    """A browser with an empty profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


def small_book(root: Path) -> Path:
    """Build a book of the introduction, the explorer's chapter, a sample of outputs and the bibliography; gives its pages."""
    bare_book(root, (SAMPLE, EXPLORER))
    introduction = (REPOSITORY / f"{INTRODUCTION}.md").read_text(encoding="utf8")
    (root / f"{INTRODUCTION}.md").write_text(_unlinked(introduction), encoding="utf8")
    explorer = nbformat.read(REPOSITORY / f"{EXPLORER}.ipynb", 4)
    for cell in explorer.cells:
        cell.source = _unlinked(cell.source) if cell.cell_type == "markdown" else cell.source
    explorer.cells[0].metadata["prerequisites"] = _unlinked(explorer.cells[0].metadata["prerequisites"])
    nbformat.write(explorer, root / f"{EXPLORER}.ipynb")
    words = "# One of each\n\nSee {numref}`fig-line`, $x^2 + y_i$ and [a link](https://example.org/).\n" + MATHEMATICS
    words += "\n:::{table} Names.\n| name | value |\n| --- | --- |\n| $x$ | `code` |\n:::\n"
    cells = [v4.new_markdown_cell(words, id="title")]
    cells += [v4.new_code_cell(source, id=f"cell-{k}", metadata=metadata) for k, (source, metadata) in enumerate(CELLS)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), root / f"{SAMPLE}.ipynb")
    return build(root)


def _unlinked(text: str) -> str:
    """A text whose links to chapters that the small book does not have are plain words, as is what it shows of them."""
    text = re.sub(r"```\{glue\} (\S+)\n:doc: \S+\n```", r"Here stands what `\1` says.", text)
    text = re.sub(r"\{doc\}`[^`]*?(\w+)`", lambda found: found[0] if EXPLORER.endswith(found[1]) else f"`{found[1]}`", text)
    link = re.compile(r"\[([^\]]*)\]\([^)\s]*?(\w+)\.ipynb[^)\s]*\)")
    return link.sub(lambda found: found[0] if EXPLORER.endswith(found[2]) else found[1], text)


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine only; gives the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def content_pages(html: Path) -> list[str]:
    """The addresses of a built book's pages, relative to its folder, less those that the tools make."""
    files = (file.relative_to(html) for file in sorted(html.rglob("*.html")))
    return [str(file) for file in files if file.parts[0] != "_static" and file.stem not in ("genindex", "search", "index")]


class Visitor:
    """Opens pages and collects what goes wrong on them in ``problems``, a phrase each."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.contexts: list[BrowserContext] = []
        self.problems: list[str] = []

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *raised: object) -> None:
        for context in self.contexts:
            context.close()

    def open(self, address: str, width: int = WIDE, scheme: str = "light", still: bool = True) -> Page:
        """Open a page in a new window and wait until its formulas are set and its explorers drawn.

        Args:
            address: over http from 127.0.0.1, or as a file, then with the browser offline.
            width: of the window, in pixels.
            scheme: what the reader prefers, ``light`` or ``dark``.
            still: whether the reader prefers reduced motion.
        """
        offline = address.startswith("file:")
        motion = "reduce" if still else "no-preference"
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion=motion, offline=offline
        )
        context.set_default_timeout(PATIENCE)
        self.contexts.append(context)
        page = context.new_page()
        name = urlsplit(address).path.rsplit("/", 1)[-1]
        note = lambda text: self.problems.append(f"{name} ({scheme}, {width} px) {text}")  # noqa: E731 - one line a listener
        page.on("console", lambda message: message.type in ("error", "warning") and note(f"prints {message.text}"))
        page.on("pageerror", lambda error: note(f"raises {error}"))
        # What is on its way when a window is left is given up, and is there all the same.
        aborted = "net::ERR_ABORTED"
        page.on("requestfailed", lambda request: request.failure != aborted and note(f"does not get {request.url}"))
        page.on("response", lambda response: response.status >= 400 and note(f"gets {response.status} for {response.url}"))
        page.on("request", lambda request: _is_outside(request) and note(f"asks for {request.url}"))
        page.goto(address)
        # The sidebar slides in when a page opens; what is measured is where it ends.
        page.add_style_tag(content="* { transition: none !important; }")
        page.evaluate("async () => { await globalThis.MathJax?.startup?.promise; await document.fonts.ready; }")
        drawn = "[...document.querySelectorAll('.armlib-explorer-page')].every(one => one.querySelector('.summary')?.textContent)"
        page.wait_for_function(drawn)
        return page


def _is_outside(request: Request) -> bool:
    address = urlsplit(request.url)
    return address.scheme not in ("file", "data", "blob", "about") and address.hostname != "127.0.0.1"


def accessibility_faults(page: Page, within: str = "article.bd-article", rules: Sequence[str] = ()) -> list[str]:
    """What axe finds in a part of a page, by default its text, less `TOOLS`; by the named rules, or by all."""
    # Without preloading, as over file:// axe is not allowed to read the style sheets a second time.
    options: dict[str, object] = {"preload": False, "resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    found = []
    for fault in Axe().run(page, within, options).response["violations"]:
        for node in fault["nodes"]:
            target = node["target"][0]
            excused = any(
                rule == fault["id"] and page.eval_on_selector(target, "(node, of) => Boolean(node.closest(of))", of)
                for rule, of in TOOLS
            )
            if not excused:
                reasons = "; ".join(check["message"] for check in (*node["any"], *node["all"], *node["none"]))
                found.append(f"{fault['id']} ({fault['impact']}) at {target}: {reasons}")
    return found


def cut_formulas(page: Page, displayed: bool) -> list[str]:
    """Formulas in the text that are wider than its column, which hides their end; if asked for, displayed ones that scroll, too."""
    return page.evaluate(
        """displayed => {
        const found = [...document.querySelectorAll("article span.math")].map(node => [node, node.closest("p, li, td, dd")]);
        if (displayed) found.push(...[...document.querySelectorAll("article div.math mjx-container")].map(node => [node, node]));
        return found.filter(([node, room]) => node.scrollWidth > room.clientWidth + 1)
            .map(([node]) => `a formula of ${node.scrollWidth} px is cut: ${node.textContent.slice(0, 60)}`);
    }""",
        displayed,
    )


def overflowing(page: Page) -> list[str]:
    """What reaches beyond the right edge of the window without being scrollable, as selectors with their pixels."""
    return page.evaluate("""() => {
        const limit = document.documentElement.clientWidth + 1, found = [];
        if (document.documentElement.scrollWidth > limit) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
        const scrolls = node => {
            for (let at = node.parentElement; at && at.localName !== "article"; at = at.parentElement)
                if (["auto", "scroll"].includes(getComputedStyle(at).overflowX)) return true;
            return false;
        };
        for (const node of document.querySelectorAll("article.bd-article *")) {
            const box = node.getBoundingClientRect();
            const hidden = node.closest("mjx-assistive-mml, .visually-hidden, details:not([open]) > :not(summary)");
            if (box.width && box.right > limit && !hidden && !scrolls(node))
                found.push(`${node.localName}.${node.getAttribute("class") ?? ""} reaches ${Math.round(box.right)}`);
        }
        return found;
    }""")
