"""One setting gives every link: launch, repository, edit and issue; without it there are none, and it is said."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from armbook.building.repository import CITATION, PUBLISHED, address, settings, stage_settings, web_address, where_links_lead
from armbook.extensions.launch import colab, installing
from armlib.errors import InputError
from books import REPOSITORY

URL = "https://github.com/somebody/a-book"


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://github.com/somebody/a-book", URL),
        ("https://github.com/somebody/a-book.git", URL),
        ("https://user:secret@github.com/somebody/a-book.git", URL),
        ("git@github.com:somebody/a-book.git", URL),
        ("ssh://git@gitlab.com/somebody/a-book", "https://gitlab.com/somebody/a-book"),
        ("https://example.org/somebody/a-book", None),
        ("/home/somebody/a-book", None),
        ("", None),
    ],
)
def test_a_remote_is_an_address_where_pages_can_link_to_it(remote: str, expected: str | None) -> None:
    assert web_address(remote) == expected


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "_config.yml").write_text((REPOSITORY / "_config.yml").read_text())
    return tmp_path


def project(folder: Path, url: str) -> None:
    (folder / "pyproject.toml").write_text(f'[project]\nname = "x"\nurls = {{ Repository = "{url}" }}\n')


def test_the_setting_comes_first_then_where_it_was_cloned_from(checkout: Path) -> None:
    assert address(checkout) is None
    subprocess.run(["git", "init", "-q", checkout], check=True)
    assert address(checkout) is None
    subprocess.run(["git", "-C", checkout, "remote", "add", "origin", "git@github.com:a/fork.git"], check=True)
    assert address(checkout) == "https://github.com/a/fork"
    project(checkout, URL)
    assert address(checkout) == URL
    project(checkout, "https://example.org/x")
    with pytest.raises(
        InputError, match="Repository in pyproject.toml must be https://HOST/OWNER/NAME on github.com or gitlab.com"
    ):
        address(checkout)


def test_a_folder_in_another_checkout_has_no_address(checkout: Path) -> None:
    subprocess.run(["git", "init", "-q", checkout], check=True)
    subprocess.run(["git", "-C", checkout, "remote", "add", "origin", URL], check=True)
    (checkout / "inner").mkdir()
    assert address(checkout / "inner") is None


def test_the_staged_settings_have_every_link_and_keep_the_rest(checkout: Path, tmp_path_factory) -> None:
    stage = tmp_path_factory.mktemp("stage")
    stage_settings(checkout, stage)
    assert where_links_lead(checkout).startswith("it has no launch, edit and issue links")
    before = yaml.safe_load((REPOSITORY / "_config.yml").read_text())
    assert yaml.safe_load((stage / "_config.yml").read_text()) == before and "repository" not in before
    assert not (stage / CITATION).exists()
    project(checkout, URL)
    (checkout / CITATION).write_text("title: x")
    stage_settings(checkout, stage)
    assert where_links_lead(checkout) == f"its launch, edit and issue links lead to {URL}"
    made = yaml.safe_load((stage / "_config.yml").read_text())
    assert made["repository"] == {"url": URL, "branch": "main", "path_to_book": ""}
    assert made["launch_buttons"].keys() == {"notebook_interface", "binderhub_url", "colab_url"}
    assert {name for name, on in made["html"].items() if on is True and name.startswith("use_")} >= {
        "use_repository_button",
        "use_edit_page_button",
        "use_issues_button",
    }
    assert made["sphinx"] == before["sphinx"] and before["html"].items() <= made["html"].items()
    assert (stage / CITATION).read_text() == "title: x"


def test_colab_is_offered_where_it_can_read() -> None:
    assert "colab_url" not in settings("https://gitlab.com/a/b")["launch_buttons"]


def test_the_citation_names_the_same_repository() -> None:
    urls = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["urls"]
    citation = yaml.safe_load((REPOSITORY / CITATION).read_text())
    assert citation.get("repository-code") == urls.get("Repository")
    assert citation["preferred-citation"]["url"] == urls["Paper"]


def test_colab_opens_the_published_notebook_and_binder_the_branch() -> None:
    binder = {"text": "Binder", "url": "https://mybinder.org/v2/gh/somebody/a-book/main?urlpath=lab/tree/notebooks/x.ipynb"}
    button = {"text": "Colab", "url": "https://colab.research.google.com/github/somebody/a-book/blob/main/notebooks/x.ipynb"}
    context = {"header_buttons": [{"type": "javascript"}, {"buttons": [dict(binder), button]}]}
    colab(None, "notebooks/x", "page.html", context, None)
    assert context["header_buttons"][1]["buttons"][0] == binder
    assert button["url"].endswith(f"/somebody/a-book/blob/{PUBLISHED}/_sources/notebooks/x.ipynb")


def test_a_downloaded_notebook_first_gets_what_it_needs() -> None:
    cell = installing(URL)
    assert f"git clone --quiet --depth 1 {URL} book" in cell.source and '".[cpu,book]"' in cell.source
    assert cell.metadata.tags == ["remove-cell"]
