"""The help of every command: each option says what it is, what it may be and what it is by default."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import pytest

from armlib import __version__, cli
from armlib.cli import main
from armlib.cli.experiment_options import FIRST, GROUPS, USUAL, defaults
from armlib.data.batches import CONTEXT_SOURCES
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import load_profile
from armlib.losses import ERRORS, READINGS
from armlib.training.processes import DEVICES
from armlib.training.settings import CONTEXT_STAGES, OPTIMIZERS, SCHEDULES, SELECTIONS

REPOSITORY = Path(__file__).resolve().parents[2]


def commands(parser: argparse.ArgumentParser | None = None, name: str = "armlib") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All commands and their parsers, those of groups such as ``armlib runs`` too."""
    parser = parser or cli._parser()
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below, one in action.choices.items():
                yield from commands(one, f"{name} {below}")


PARSERS = dict(commands())


@pytest.mark.parametrize("name", PARSERS)
def test_every_command_has_examples_that_it_takes(name: str) -> None:
    shown = PARSERS[name].epilog or ""
    assert shown.startswith("examples:\n")
    lines = [line.strip() for line in shown.split("\n\n")[0].splitlines()[1:]]
    assert lines and all(f"{name} " in f"{line} " for line in lines)
    options = {flag for parser in PARSERS.values() for action in parser._actions for flag in action.option_strings}
    for line in lines:
        command = re.split(r"\s{3,}", line.partition("armlib ")[2])[0]
        assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", command)) <= options, line


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_says_what_it_is_and_its_default(name: str) -> None:
    for action in PARSERS[name]._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        said = action.help or ""
        assert len(said.split()) >= 2, f"{action.option_strings or action.dest} of {name} says nothing"
        switch = action.nargs == 0 and not isinstance(action, argparse.BooleanOptionalAction)
        if action.option_strings and not switch and not action.required:
            assert re.search(r"\(default: [^)]+", said), f"{action.option_strings} of {name} does not say its default"


def test_no_option_is_in_the_help_twice_with_the_same_words() -> None:
    said = [action.help for action in PARSERS["armlib train"]._actions]
    assert len(said) == len(set(said))


def test_training_shows_the_defaults_that_it_takes(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", "--help"])
    assert end.value.code == 0
    printed = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    taken = load_profile("demo").experiment
    assert {each.name: defaults()[each.name] for each in fields(Experiment)} == {
        each.name: getattr(taken, each.name) for each in fields(Experiment)
    }
    for each in fields(Experiment):
        value = getattr(taken, each.name)
        shown = USUAL.get(each.name) or {True: "yes", False: "no"}.get(value if isinstance(value, bool) else None)
        if shown is None:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
        about = f"{each.metadata['about']} (default: {shown})".replace("- ", "-")
        assert f"--{each.name.replace('_', '-')}" in printed and about in printed, each.name


def test_options_of_training_are_in_groups() -> None:
    groups = {group.title: [action.dest for action in group._group_actions] for group in PARSERS["armlib train"]._action_groups}
    assert [title for title in groups if title in GROUPS.values()] == list(GROUPS.values())
    values = {each.name for each in fields(Experiment)}
    assert set(FIRST) <= values and set(FIRST.values()) == set(GROUPS)
    grouped = [dest for title in GROUPS.values() for dest in groups[title]]
    assert values < set(grouped) and len(grouped) == len(set(grouped))
    assert "batch_size" in groups["optimisation"] and "seed" in groups["optimisation"] and "device" in groups["machine"]


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("--error", ERRORS),
        ("--reading", READINGS),
        ("--optimizer", OPTIMIZERS),
        ("--selection", SELECTIONS),
        ("--schedule", SCHEDULES),
        ("--context-stage", CONTEXT_STAGES),
        ("--context-from", CONTEXT_SOURCES),
        ("--device", DEVICES),
        ("--precision", ("auto", "no", "bf16")),
    ],
)
def test_choices_are_named(option: str, choices: tuple[str, ...]) -> None:
    (said,) = [action.help for action in PARSERS["armlib train"]._actions if option in action.option_strings]
    assert set(choices) <= set(re.findall(r"[\w-]+", said))


def test_the_version_is_that_of_the_distribution(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"armlib {version('armlib')}\n" and __version__ == version("armlib")


def environment_variables(folder: Path) -> set[str]:
    """Those that the sources below a folder name."""
    names = re.compile(r"\b(?:ARMLIB_[A-Z_]+|IR_DATASETS_HOME|HF_HUB_OFFLINE)\b")
    return {name for source in folder.rglob("*.py") for name in names.findall(source.read_text())}


def test_environment_variables_are_in_the_help_and_in_the_readme() -> None:
    own, of_the_book = (environment_variables(REPOSITORY / folder) for folder in ("armlib", "book/armbook"))
    described = set(re.findall(r"^  ([A-Z_]+)  ", cli.EPILOG, re.MULTILINE))
    assert {"ARMLIB_RUNS", "ARMLIB_CACHE", "HF_HUB_OFFLINE"} <= own <= described
    assert of_the_book <= described | {"ARMLIB_FIGURES"}
    assert all("$ARMLIB_FIGURES" in str(PARSERS[f"armlib {name}"].epilog) for name in ("figure", "table"))
    assert own | of_the_book <= set(re.findall(r"`([A-Z_]+)`", (REPOSITORY / "README.md").read_text()))
