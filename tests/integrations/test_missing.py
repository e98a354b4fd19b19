"""What is said where a toolkit is missing or too old, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
CATCHING = "import sys\nfrom armlib.errors import InputError\ntry:\n{}\nexcept InputError as error:\n    print(error)"


def said(*lines: str) -> str:
    """The sentence by which lines of Python are refused."""
    code = CATCHING.format("\n".join(f"    {line}" for line in lines))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_pyterrier_one_sentence_says_what_to_install() -> None:
    found = said("sys.modules['pyterrier'] = None", "import armlib.integrations.pyterrier")
    expected = (
        "transformers of PyTerrier need the package pyterrier, which is not installed; install it with: pip install pyterrier"
    )
    assert found == expected


def test_sentence_transformers_before_5_7_has_no_gradient_caching() -> None:
    found = said(
        "import sentence_transformers.base.losses",
        "sys.modules['sentence_transformers.base.losses.gradcache'] = None",
        "from armlib.integrations.sentence_transformers import CachedAdaptiveMarginLoss",
        "CachedAdaptiveMarginLoss(None)",
    )
    assert found == "gradient caching needs sentence-transformers 5.7; expected AdaptiveMarginLoss with an older one"
