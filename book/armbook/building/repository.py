"""Where the book's repository is on the web, and the links that follow from it: launch, edit, issue, source.

The one setting is ``Repository`` in ``[project.urls]`` of ``pyproject.toml``. Where that says nothing, it is where the checkout was
cloned from, if that is a place that pages can link to, so that a fork's book leads to the fork.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml

from armlib.errors import InputError

HOSTS = ("github.com", "gitlab.com")
BRANCH = "main"
PUBLISHED = "gh-pages"  # the branch that holds the built pages, with their notebooks; Colab opens these
CITATION = "CITATION.cff"


def address(root: Path) -> str | None:
    """The repository's address such as ``https://github.com/owner/name``; None where nobody says one.

    Args:
        root: a checkout.

    Raises:
        InputError: ``pyproject.toml`` has an address that pages cannot link to.
    """
    project = root / "pyproject.toml"
    urls = tomllib.loads(project.read_text("utf8"))["project"].get("urls", {}) if project.is_file() else {}
    if "Repository" in urls:
        found = web_address(urls["Repository"])
        if found is None:
            raise InputError(
                f"Repository in {project.name} must be https://HOST/OWNER/NAME on {' or '.join(HOSTS)}, not {urls['Repository']}"
            )
        return found
    # Only of the checkout itself: one that lies in another repository's folder is not to be found there.
    if not (root / ".git").exists():
        return None
    done = subprocess.run(["git", "-C", str(root), "remote", "get-url", "origin"], capture_output=True, text=True)
    return web_address(done.stdout.strip())


def web_address(remote: str) -> str | None:
    """The address of a remote on the web; None where it is on no host that pages can link to."""
    hosts = "|".join(map(re.escape, HOSTS))
    found = re.fullmatch(rf"(?:https://(?:[^@/]*@)?|ssh://git@|git@)({hosts})[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?", remote)
    return f"https://{found[1]}/{found[2]}" if found else None


def settings(url: str) -> dict[str, dict[str, Any]]:
    """What ``_config.yml`` says of a repository: launch buttons on chapters; repository, edit and issue links on all pages."""
    launch = {"notebook_interface": "jupyterlab", "binderhub_url": "https://mybinder.org"}
    if "github.com" in url:
        launch["colab_url"] = "https://colab.research.google.com"
    buttons = dict.fromkeys(("use_repository_button", "use_edit_page_button", "use_issues_button"), True)
    return {"repository": {"url": url, "branch": BRANCH, "path_to_book": ""}, "launch_buttons": launch, "html": buttons}


def stage_settings(root: Path, stage: Path) -> None:
    """Write ``_config.yml`` with what follows from the repository's address, and ``CITATION.cff``, where there is one, beside it.

    Raises:
        InputError: as `address`.
    """
    config = yaml.safe_load((root / "_config.yml").read_text("utf8"))
    url = address(root)
    for name, values in (settings(url) if url else {}).items():
        config[name] = {**config.get(name, {}), **values}
    (stage / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "utf8")
    if (root / CITATION).is_file():
        (stage / CITATION).write_bytes((root / CITATION).read_bytes())


def where_links_lead(root: Path) -> str:
    """A line on the launch, edit and issue links of a book.

    Raises:
        InputError: as `address`.
    """
    url = address(root)
    if url:
        return f"its launch, edit and issue links lead to {url}"
    return "it has no launch, edit and issue links, as neither pyproject.toml nor the remote origin says where its repository is"
