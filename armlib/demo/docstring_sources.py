"""Docstrings out of installed sources, by parsing them: nothing is imported, nothing is run."""

from __future__ import annotations

import ast
import importlib.metadata
import platform
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from armlib.errors import InputError

# distribution -> the top-level package that it installs
PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "matplotlib": "matplotlib",
    "scikit-learn": "sklearn",
    "statsmodels": "statsmodels",
    "networkx": "networkx",
}
# As in constraints.txt; and the Python that the book was written with.
BOOK_VERSIONS = {
    "numpy": "2.4.6",
    "scipy": "1.17.1",
    "pandas": "3.1.1",
    "matplotlib": "3.11.2",
    "scikit-learn": "1.9.1",
    "statsmodels": "0.15.0",
    "networkx": "3.6.1",
    "python": "3.11.7",
}
# Tests and examples, other projects' code carried along, and parts of the standard library that not every build has.
SKIPPED_FOLDERS = {
    "tests",
    "test",
    "testing",
    "examples",
    "sandbox",
    "benchmarks",
    "externals",
    "extern",
    "vendored",
    "_vendor",
    "array_api_compat",
    "array_api_extra",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "distutils",
    "ensurepip",
    "pydoc_data",
    "encodings",
    "lib-dynload",
}
SKIPPED_FILES = {"setup.py", "conftest.py", "turtle.py", "antigravity.py", "this.py", "sitecustomize.py"}


class DocumentedObject(NamedTuple):
    """A public class, function, method or property and what its docstring says, Examples left out.

    ``name`` is the dotted name without private modules (``sklearn.linear_model.Ridge``, not ``..._ridge.Ridge``),
    ``body`` all text but summary, examples, references and See Also, ``see_also`` names as they are written there.
    """

    name: str
    summary: str
    body: str
    see_also: tuple[str, ...]


def versions() -> dict[str, str]:
    """The version of every mined package and of Python, on which the text depends.

    Raises:
        InputError: a package is not installed.
    """
    found = {}
    for distribution in PACKAGES:
        try:
            found[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError as error:
            raise InputError(
                f"the collection 'docstrings' is mined from {', '.join(PACKAGES)} and the standard library, "
                f"but {distribution} is not installed; install it with: pip install 'armlib[demo]'"
            ) from error
    return found | {"python": platform.python_version()}


def other_versions() -> str:
    """One sentence on the versions that are not those of the book; empty where all are."""
    here = versions()
    other = [name for name, version in here.items() if version != BOOK_VERSIONS.get(name)]
    if not other:
        return ""
    found, expected = (", ".join(f"{name} {table.get(name)}" for name in other) for table in (here, BOOK_VERSIONS))
    return (
        f"the collection docstrings is mined here from the docstrings of {found}, in place of {expected}: "
        "scores on it cannot be compared with those of the book, nor with those of other versions"
    )


def source_files() -> list[tuple[Path, str]]:
    """Every source file to be mined with the dotted name of its module, private modules left out of the name."""
    versions()  # says which package is missing
    roots = [
        (Path(str(importlib.metadata.distribution(distribution).locate_file(package))), package)
        for distribution, package in PACKAGES.items()
    ]
    files = []
    for root, package in [*roots, (Path(sysconfig.get_path("stdlib")), "")]:
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if path.name in SKIPPED_FILES or SKIPPED_FOLDERS.intersection(parts):
                continue
            if not package and (parts[0].startswith("_") or parts[0].startswith("config-")):
                continue
            if parts[-1].startswith(("test_", "_test", "conftest")):
                continue
            files.append((path, ".".join(part for part in (package, *parts) if part and not part.startswith("_"))))
    return files


def documented_objects(path: Path, module: str) -> list[DocumentedObject]:
    """The documented public objects of one source file, in the order of the file; none if it does not parse."""
    source = path.read_bytes()
    if b'"""' not in source and b"'''" not in source:
        return []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # templates and code of other Python versions lie among the sources
        return []
    found = []
    for name, text in (*_definitions(tree.body, module), *_added_docs(tree.body, module)):
        parsed = parse_docstring(text)
        if parsed is not None:
            found.append(DocumentedObject(name, *parsed))
    return found


def _definitions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name.startswith("_"):
                continue
            name = f"{prefix}.{node.name}" if prefix else node.name
            text = ast.get_docstring(node)
            if text:
                yield name, text
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, name)
        elif isinstance(node, ast.If | ast.Try):
            for part in ("body", "orelse", "handlers", "finalbody"):
                for inner in getattr(node, part, []):
                    yield from _definitions(inner.body if isinstance(inner, ast.ExceptHandler) else [inner], prefix)


def _added_docs(body: list[ast.stmt], module: str) -> Iterator[tuple[str, str]]:
    """What NumPy's ``add_newdoc(place, object, text or (attribute, text))`` and SciPy's shorter form add to C code."""
    for node in body:
        call = node.value if isinstance(node, ast.Expr) else None
        if not isinstance(call, ast.Call) or getattr(call.func, "id", None) != "add_newdoc":
            continue
        *path, added = call.args
        names = [name for name in map(_string, path) if name is not None]
        if not path or len(names) < len(path):
            continue
        if len(names) == 1:
            names = [module, *names]
        pairs = added.elts if isinstance(added, ast.List) else [added]
        for pair in pairs:
            attribute, text = pair.elts if isinstance(pair, ast.Tuple) and len(pair.elts) == 2 else (None, pair)
            parts = [*".".join(names).split("."), *([_string(attribute) or "_"] if attribute is not None else [])]
            content = _string(text)
            # Private parts of a path such as numpy._core are no part of the name; a private attribute is not public.
            if content and not parts[-1].startswith("_"):
                yield ".".join(part for part in parts if not part.startswith("_")), _dedent(content)


def _string(node: ast.expr) -> str | None:
    """The string that an expression holds, also through ``"...".replace(...)`` and ``dedent("...")``."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Constant):
            return _string(node.func.value)
        return _string(node.args[0]) if node.args else None
    return None


def _dedent(text: str) -> str:
    lines = text.expandtabs().strip("\n").splitlines()
    margins = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    return "\n".join(line[min(margins, default=0) :] for line in lines).strip()


_UNDERLINE = re.compile(r"^\s*[-=~]{3,}\s*$")
_SIGNATURE = re.compile(r"^[\w.]+\(.*\)(\s*->.*)?$", re.DOTALL)
_LEFT_OUT = {"examples", "example", "references", "see also"}
_ROLE = re.compile(r":[\w:+-]+:`~?\.?([^`<]*?)(\s*<[^`>]*>)?`")
_PLACEHOLDER = re.compile(r"%\([^)]*\)s|\{\w*\}")
_DIRECTIVE = re.compile(r"^\s*\.\. .*$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z_][\w.]*")


def parse_docstring(text: str) -> tuple[str, str, tuple[str, ...]] | None:
    """Summary, body and See Also names of a docstring in NumPy's format or in none; None without summary or body."""
    lines = text.splitlines()
    sections: list[tuple[str, list[str]]] = [("", [])]
    skip = False
    for position, line in enumerate(lines):
        if skip:
            skip = False
            continue
        following = lines[position + 1] if position + 1 < len(lines) else ""
        if line.strip() and _UNDERLINE.match(following) and len(line.strip()) < 40:
            sections.append((line.strip().lower().rstrip(":"), []))
            skip = True
        elif not _UNDERLINE.match(line):
            sections[-1][1].append(line)
    paragraphs = re.split(r"\n\s*\n", "\n".join(sections[0][1]).strip())
    while paragraphs and _SIGNATURE.match(paragraphs[0].strip()):
        paragraphs.pop(0)
    if not paragraphs:
        return None
    summary, rest = _first_sentence(plain(paragraphs[0]))
    prose = [paragraph for paragraph in paragraphs[1:] if not paragraph.lstrip().startswith(">>>")]
    body = [rest, *map(plain, prose)]
    see_also: list[str] = []
    for title, content in sections[1:]:
        if title.startswith("see also"):
            see_also += _see_also(content)
        elif title not in _LEFT_OUT:
            text = plain("\n".join(content))
            body.append(f"{title}: {text}" if text else "")
    joined = " ".join(part for part in body if part)
    return (summary, joined, tuple(see_also)) if summary and joined else None


def plain(text: str) -> str:
    """Text without the marks of reStructuredText and of templates, in one line."""
    text = _ROLE.sub(r"\1", _DIRECTIVE.sub(" ", text))
    text = _PLACEHOLDER.sub(" ", text).replace("``", "").replace("`", "").replace("**", "")
    return " ".join(text.split())


def _first_sentence(text: str) -> tuple[str, str]:
    end = re.search(r"(?<![ (]e\.g)(?<![ (]i\.e)(?<! vs)\.\s+(?=[A-Z])", text)
    return (text[: end.start() + 1], text[end.end() :]) if end else (text, "")


def _see_also(lines: list[str]) -> Iterator[str]:
    """Names of a See Also section: ``name, other : description`` lines; indented lines are descriptions."""
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) == indent and not line.lstrip().startswith(".."):
            names = _ROLE.sub(r"\1", line).replace("`", "").split(" : ")[0].split(": ")[0].rstrip(" :")
            for part in names.split(","):
                if _NAME.fullmatch(part.strip()):
                    yield part.strip()
