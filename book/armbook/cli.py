"""The book's commands, which the command line of armlib takes up: sweep, ship, figure, table and book."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from armlib.cli.options import add_command, add_runs_option, add_store_options
from armlib.errors import InputError

SWEEP_EXAMPLES = """\
examples:
  armlib sweep --profile small --workers 4             four training runs at a time on this machine
  armlib sweep --profile paper --chapter static_sweep  only the sweep over static targets, and what it tunes
  armlib sweep --profile paper --list                  what there is to train, and what of it is finished
  armlib sweep --profile paper --runs /shared/runs --scheduler tcp://host:8786

Chapters: distributed, adaptive, static_sweep, readings, ablations, batch_sizes, baselines, teachers. What is finished is not
trained again; the training run of a worker that was lost goes on, on another worker, from its last checkpoint. The workers of a
scheduler of your own (SSH, Slurm, Kubernetes: whatever Dask starts) need this package, the data and the folder of the runs. Whoever
reaches a tcp:// address can run code there, so its network must be one that you trust; a tls:// one takes its certificates from
Dask's configuration. The workers of this machine listen to nobody else.
"""
SHIP_EXAMPLES = """\
examples:
  armlib ship results/msmarco-mini --profile small         what is finished of it, for readers without its data
  armlib ship results/msmarco-mini --profile small --list  each training run that is missing, too

Written are experiment, measures of every query, learning curves and provenance: no weights, rankings, texts, or names and paths of
this machine. What the folder has already is kept; nothing is trained.
"""
BOOK_EXAMPLES = """\
examples:
  armlib book                                          in a checkout of the repository, into book/_build/html
  armlib book --profile small --jobs 4
"""
FIGURE_EXAMPLES = """\
examples:
  armlib figure 3
  armlib figure 5 -p profile small
  armlib figure 12_ablations -p seeds "[0, 1, 2]"
"""
TABLE_EXAMPLES = """\
examples:
  armlib table 3
  armlib table 3 -p collection beir/scifact/train -p encoder sentence-transformers/all-MiniLM-L6-v2
"""
WHERE = """
Figures and tables are written to $ARMLIB_FIGURES (default: figures/generated).
"""


def add_commands(commands: Any) -> None:
    """Add the book's commands; see `armlib.cli.options.add_command`."""
    _add_sweep(commands)
    _add_ship(commands)
    _add_figure(commands, "figure", FIGURE_EXAMPLES + WHERE)
    _add_figure(commands, "table", TABLE_EXAMPLES + WHERE)
    _add_book(commands)


def _add_sweep(commands: Any) -> None:
    about = "Train all that a profile compares, with many workers."
    parser = add_command(commands, "sweep", _sweep, about, SWEEP_EXAMPLES)
    parser.add_argument("--profile", default="demo", metavar="NAME", help="demo, small, paper or a TOML file (default: demo)")
    add_store_options(parser, precision=True)
    parser.add_argument("--chapter", nargs="+", metavar="NAME", help="only the training runs of these chapters (default: all)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes of this machine (default: the profile's jobs)")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="a Dask scheduler on a trusted network, whose workers are used (default: none)"
    )
    parser.add_argument("--list", action="store_true", help="train nothing; print the state of each training run")


def _sweep(options: argparse.Namespace) -> None:
    from armbook.chapters import CHAPTERS, LATER, first_round
    from armlib.experiments.profile import load_profile
    from armlib.experiments.store import RunStore

    if options.scheduler and options.workers is not None:
        raise InputError("--workers counts processes of this machine; those of a --scheduler are started with it")
    profile, chapters = load_profile(options.profile), options.chapter or list(CHAPTERS)
    store = RunStore(options.runs, device=options.device, precision=options.precision)
    states = {experiment: store.state(experiment) for experiment in first_round(profile, chapters)}
    if options.list:
        for experiment, state in states.items():
            print(f"{state:10} {experiment.key()} | {experiment}")
    counts = [f"{list(states.values()).count(state)} {state}" for state in dict.fromkeys(states.values())]
    then = "; then what these tune" if LATER.keys() & set(chapters) else ""
    print(f"{len(states)} training runs in {store.path}: {', '.join(counts)}{then}", flush=True)
    if options.list:
        return

    from tqdm import tqdm

    from armbook.sweep import sweep
    from armlib.experiments.cluster import workers_here, workers_of

    jobs = profile.jobs if options.workers is None else options.workers
    with workers_of(options.scheduler) if options.scheduler else workers_here(jobs) as client:
        outcomes = sweep(client, store, profile, chapters, lambda line: tqdm.write(line, file=sys.stdout))
    failed = sum(bool(outcome.error) for outcome in outcomes)
    if failed:
        raise InputError(f"{failed} of {len(outcomes)} training runs failed, as said above; the same command tries them again")


def _add_ship(commands: Any) -> None:
    about = "Write the finished results of a profile as small files without weights."
    parser = add_command(commands, "ship", _ship, about, SHIP_EXAMPLES)
    parser.add_argument("folder", metavar="FOLDER", help="where to; chapters look in results/ and there in the collection's name")
    parser.add_argument("--profile", default="small", metavar="NAME", help="demo, small, paper or a TOML file (default: small)")
    parser.add_argument("--list", action="store_true", help="also print each training run that is missing")
    about = "also write TREC runs of the first encoder's variants on TREC-DL, 100 passages a query, from the run store"
    parser.add_argument("--rankings", action="store_true", help=about)
    add_runs_option(parser)


def _ship(options: argparse.Namespace) -> None:
    from armbook import shipped_rankings
    from armbook.shipping import ship
    from armlib.experiments.profile import load_profile
    from armlib.experiments.shipped import Shipped
    from armlib.experiments.store import RunStore

    profile, store, shipped = load_profile(options.profile), RunStore(options.runs), Shipped(options.folder)
    done = ship(profile, store, shipped)
    missing = list(dict.fromkeys(each for some in done.missing.values() for each in some))
    if options.list:
        for experiment in missing:
            print(f"missing {experiment.key()} | {experiment}")
    if options.rankings:
        runs = shipped_rankings.write_rankings(
            shipped_rankings.compared(profile, shipped, store), profile.name, shipped.path / shipped_rankings.RANKINGS
        )
        print(f"{len(runs)} rankings in {runs[0].parent}")
    size = sum(file.stat().st_size for file in shipped.path.rglob("*") if file.is_file())
    print(f"{done.written + done.kept} results in {shipped.path}: {done.written} written, {done.kept} kept; {size / 1e6:.1f} MB")
    counts = [f"{name} {len(some)}" for name, some in done.missing.items()]
    print(f"{len(missing)} training runs are missing: {', '.join(counts)}, and what these tune" if counts else "none is missing")


def _add_figure(commands: Any, kind: str, examples: str) -> None:
    parser = add_command(commands, kind, _figure, f"Make a {kind} of the book and say where it is.", examples)
    about = f"the paper's number of the {kind}, or the notebook that makes it, such as 12_ablations"
    parser.add_argument("name", metavar="NAME", help=about)
    parser.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        dest="parameters",
        help="another value for a parameter of the notebook, such as profile small; can be repeated (default: none)",
    )
    parser.set_defaults(kind=kind)
    _add_folder(parser)


def _figure(options: argparse.Namespace) -> None:
    from armbook.building.pages import run_one

    name = f"{options.kind} {options.name}" if options.name.isdecimal() else options.name
    for made in run_one(_folder(options), name, dict(options.parameters)):
        print(made)


def _add_book(commands: Any) -> None:
    parser = add_command(commands, "book", _book, "Run all notebooks and build the book.", BOOK_EXAMPLES)
    parser.add_argument("--profile", default="demo", metavar="NAME", help="demo, small or paper (default: demo)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="notebooks at a time (default: 2)")
    parser.add_argument("--pdf", action="store_true", help="also print the book into one PDF, by Chromium")
    _add_folder(parser)


def _book(options: argparse.Namespace) -> None:
    from armbook.building import pdf
    from armbook.building.pages import build
    from armbook.building.repository import where_links_lead

    if options.pdf:
        pdf.browser()  # before a long build

    def train() -> None:
        from armbook.chapters import every_round, first_round, from_store
        from armlib.experiments.profile import load_profile
        from armlib.experiments.store import RunStore

        profile, store = load_profile(options.profile), RunStore()
        count = len(first_round(profile))
        print(f"{count} training runs for profile {options.profile} and what they tune, as far as they are not there", flush=True)
        with from_store(store, profile.jobs) as get:
            every_round(profile, get)

    html = build(_folder(options), profile=options.profile, jobs=options.jobs, train=train)
    print(f"the book is at {html}; {where_links_lead(_folder(options))}")
    if options.pdf:
        print(f"the PDF is at {pdf.print_book(_folder(options), html, options.profile)}")


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", default=".", metavar="FOLDER", help="the book's folder, with _toc.yml (default: this one)")


def _folder(options: argparse.Namespace) -> Path:
    return Path(options.folder)
