"""What papermill was told to set in a notebook, checked from within: papermill itself warns of an unknown name and goes on."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence

INJECTED = "# Parameters\n"  # how papermill begins the cell that it adds below the one tagged ``parameters``


def check(executed: Sequence[str] | None = None) -> None:
    """Refuse parameters that this notebook does not have, or that have another type than it says; call it before any work.

    Args:
        executed: the sources of the cells that ran so far, in order; by default those of the notebook that this runs in.

    Raises:
        InputError: names the parameter, and lists the known ones.
    """
    cells = _executed() if executed is None else list(executed)
    for declared, injected in zip(cells, cells[1:], strict=False):
        if injected.startswith(INJECTED):
            from nbformat.v4 import new_code_cell  # slow to import, and papermill added nothing to most notebooks

            from armbook.building.notebooks import check_values, declared_parameters

            statements = [each for each in ast.parse(injected).body if isinstance(each, ast.Assign)]
            given = {each.targets[0].id: ast.literal_eval(each.value) for each in statements}
            check_values(declared_parameters(new_code_cell(declared)), given, "this notebook")


def _executed() -> list[str]:
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return list(shell.user_ns.get("In", ())) if shell else []
