"""Who imports whom: armlib's folders stand in one order, no module is in a circle, and the book is built on armlib only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# From the ground up: a module may import what stands in its own step and in those before.
STEPS = (
    ("errors", "storage", "progress", "parsing", "packages"),
    ("losses",),
    ("data",),
    ("encoder",),
    ("demo",),
    ("names",),
    ("retrieval",),
    ("training",),
    ("teachers",),
    ("evaluation",),
    ("experiments",),
    ("cli",),
    ("integrations",),
    ("__main__",),
)
# What chapters share: these know nothing of any chapter, nor of the claims that chapters' numbers are held against.
SHARED = ("counts", "sentences", "results", "published", "style", "hovering", "switching", "tables", "learning_curves")


class Import(NamedTuple):
    """A module that imports another; ``where`` is the function that does so, empty at the top of the file."""

    importer: str
    imported: str
    where: str


# An experiment knows its key, which is made from the data; the data know the experiment whose they are.
EXCUSED = {
    Import("armlib.experiments.experiment", "armlib.experiments.training_data", "Experiment.key"),
    Import("armlib.experiments.experiment", "armlib.experiments.training_data", "Experiment.evaluation_names"),
}


def modules(package: Path) -> dict[str, Path]:
    """The modules of a package by their full names."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(*packages: Path) -> set[Import]:
    """All imports among the modules of some packages, also those inside functions, without those for type checkers alone."""
    known = {name: file for package in packages for name, file in modules(package).items()}
    found = set()
    for name, file in known.items():
        for node, where in _statements(ast.parse(file.read_text(encoding="utf8"))):
            for target in _targets(node, name, file):
                # The longest name that is a module: the rest are things in it. An import of its own package is none.
                while target and target not in known:
                    target = target.rpartition(".")[0]
                if target and target != name:
                    found.add(Import(name, target, where))
    return found


def _statements(node: ast.AST, where: tuple[str, ...] = ()) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, ".".join(where)
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from _statements(ast.Module([other], []), where)
        else:
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            yield from _statements(child, (*where, child.name) if named else where)


def _targets(node: ast.Import | ast.ImportFrom, name: str, file: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
    module = ".".join(filter(None, (start, node.module)))
    return [f"{module}.{alias.name}" for alias in node.names]


def circle(found: set[Import]) -> list[str] | None:
    """Modules that import each other in a circle; None where there are none."""
    graph: dict[str, set[str]] = {}
    for each in found:
        graph.setdefault(each.importer, set()).add(each.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def upward(found: set[Import], package: str, steps: tuple[tuple[str, ...], ...]) -> list[str]:
    """Imports of something that stands higher, a line each."""
    step = {name: number for number, names in enumerate(steps) for name in names}
    lines = []
    for each in sorted(found):
        sides = [name.split(".") for name in (each.importer, each.imported)]
        if any(side[0] != package or len(side) < 2 for side in sides):
            continue
        (_, low, *_), (_, high, *_) = sides
        if step[high] > step[low]:
            lines.append(f"{each.importer} imports {each.imported}" + f" in {each.where}" * bool(each.where))
    return lines


@pytest.fixture(scope="module")
def found() -> set[Import]:
    """The imports among all modules of armlib and of the book."""
    return imports(REPOSITORY / "armlib", REPOSITORY / "book" / "armbook")


def test_armlib_does_not_know_the_book(found: set[Import]) -> None:
    ours = {name.partition(".")[0] for name in modules(REPOSITORY / "armlib")}
    assert ours == {"armlib"}
    assert not [each for each in found if each.importer.startswith("armlib") and each.imported.startswith("armbook")]
    assert [each for each in found if each.importer.startswith("armbook") and each.imported.startswith("armlib")]


def test_every_folder_of_armlib_has_its_step() -> None:
    known = {name for names in STEPS for name in names}
    assert {name.split(".")[1] for name in modules(REPOSITORY / "armlib") if "." in name} == known


def test_imports_of_armlib_point_down(found: set[Import]) -> None:
    assert upward(found, "armlib", STEPS) == []
    by_the_front_door = [each for each in found if each.importer.startswith("armlib.") and each.imported == "armlib"]
    assert not by_the_front_door, "what the package offers by name can stand anywhere"


def test_no_modules_import_each_other_in_a_circle(found: set[Import]) -> None:
    assert found >= EXCUSED, "an excuse that is not needed any more"
    assert circle(found) is not None, "without the excuse there is a circle"
    assert circle(found - EXCUSED) is None


def test_what_chapters_share_knows_no_chapter_and_no_claims(found: set[Import]) -> None:
    shared = tuple(f"armbook.{name}" for name in SHARED)
    outside = {
        f"{each.importer} imports {each.imported}"
        for each in found
        if each.importer.startswith(shared) and each.imported.startswith("armbook") and not each.imported.startswith(shared)
    }
    assert not outside


def test_no_test_imports_another() -> None:
    wrong = []
    for file in sorted((REPOSITORY / "tests").rglob("*.py")):
        for node, _ in _statements(ast.parse(file.read_text(encoding="utf8"))):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            parts = {part for name in named for part in name.split(".")}
            wrong += [f"{file.name} imports {part}" for part in parts if part.startswith("test_") or part == "conftest"]
    assert not wrong, "what several tests share stands in a module of its own beside conftest.py"


def test_tests_of_armlib_need_neither_the_book_nor_a_browser() -> None:
    tests = REPOSITORY / "tests"
    folders = [path for path in tests.iterdir() if path.is_dir() and path.name != "book"]
    files = [tests / "conftest.py", *(file for folder in folders for file in folder.rglob("*.py"))]
    found = {
        f"{file.name} imports {name}"
        for file in files
        for node, _ in _statements(ast.parse(file.read_text(encoding="utf8")))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name.partition(".")[0] in {"armbook", "playwright", "axe_playwright_python", "browsing", "books"}
    }
    assert len(files) > 20 and not found


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of four modules in two folders."""
    sources = {
        "__init__.py": "",
        "low/__init__.py": "from pack.low.a import first\n",
        "low/a.py": "first = 1\n",
        "low/b.py": "import pack.low.a\nfrom . import a\nfrom .. import low\n",
        "high/__init__.py": "",
        "high/c.py": "from typing import TYPE_CHECKING\n\nfrom pack.low import b\nfrom pack.low.a import first\n",
    }
    for name, source in sources.items():
        (tmp_path / "pack" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pack" / name).write_text(source)
    return tmp_path / "pack"


def test_imports_are_read_in_every_form(package: Path) -> None:
    assert imports(package) == {
        Import("pack.low", "pack.low.a", ""),
        Import("pack.low.b", "pack.low.a", ""),
        Import("pack.low.b", "pack.low", ""),
        Import("pack.high.c", "pack.low.b", ""),
        Import("pack.high.c", "pack.low.a", ""),
    }
    assert circle(imports(package)) is None and upward(imports(package), "pack", (("low",), ("high",))) == []


@pytest.mark.parametrize(
    "line",
    [
        "from pack.high.c import first",
        "import pack.high.c as other",
        "from ..high import c",
        "def later():\n    from pack.high import c",
        "class Late:\n    def later(self):\n        if self:\n            import pack.high.c",
        "try:\n    import pack.high.c\nexcept ImportError:\n    pass",
        "if not TYPE_CHECKING:\n    import pack.high.c",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import pack.high.c",
    ],
)
def test_a_wrong_import_is_found(package: Path, line: str) -> None:
    with open(package / "low" / "a.py", "a") as file:
        file.write(f"{line}\n")
    found = imports(package)
    assert {"pack.low.a", "pack.high.c"} <= set(circle(found))
    (said,) = upward(found, "pack", (("low",), ("high",)))
    where = " in Late.later" if "class" in line else " in later" if "def" in line else ""
    assert said == f"pack.low.a imports pack.high.c{where}"


def test_an_import_for_type_checkers_is_none(package: Path) -> None:
    with open(package / "low" / "a.py", "a") as file:
        file.write("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.high.c import first\n")
    assert upward(imports(package), "pack", (("low",), ("high",))) == [] and circle(imports(package)) is None
