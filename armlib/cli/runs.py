"""``armlib runs``: what a run store holds, and its housekeeping."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from armlib.cli.options import add_command, add_json_option, add_runs_option, print_json
from armlib.errors import InputError, one_line, unknown

if TYPE_CHECKING:
    from armlib.experiments.result import Result
    from armlib.experiments.store import RunStore

EXAMPLES = """\
examples:
  armlib runs list                       what there is: key, time, size, nDCG@10, experiment
  armlib runs show 3f0c                  one result; the first digits of its key are enough
  armlib runs prune --unfinished         what would be deleted, and how much that frees
  armlib runs prune --older-than 30 --yes

Nothing is deleted without --yes, and never what a process is training now.
"""
LIST_EXAMPLES = """\
examples:
  armlib runs list
  armlib runs list --runs /shared/runs --json > runs.json
"""
SHOW_EXAMPLES = """\
examples:
  armlib runs show 3f0c9a1b2d4e
  armlib runs show 3f0c --runs /shared/runs --json > result.json
"""
PRUNE_EXAMPLES = """\
examples:
  armlib runs prune --unfinished         what would be deleted, and how much that frees
  armlib runs prune --older-than 30 --yes
  armlib runs prune 3f0c 77ab --yes
"""
MEASURE = "nDCG@10"
UNITS = ("B", "kB", "MB", "GB", "TB")


def add_runs(commands: Any) -> None:
    """Add ``armlib runs``: a run store's results listed, shown and deleted."""
    parser = add_command(commands, "runs", _list, "List, show and delete results of a run store.", EXAMPLES)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = add_command(actions, "list", _list, "List all that is stored, the oldest first.", LIST_EXAMPLES)
    about = "Show a result: its experiment, provenance, measures and files."
    show = add_command(actions, "show", _show, about, SHOW_EXAMPLES)
    show.add_argument("key", metavar="KEY", help="its key, or the first digits of it")
    for action in (listing, show):
        add_json_option(action)
    about = "Delete results; without --yes only say which, and what that frees."
    prune = add_command(actions, "prune", _prune, about, PRUNE_EXAMPLES)
    prune.add_argument("keys", nargs="*", metavar="KEY", help="these, by their keys or the first digits of them (default: none)")
    prune.add_argument("--unfinished", action="store_true", help="checkpoints and drafts of training runs that were stopped")
    prune.add_argument("--damaged", action="store_true", help="results that are not whole any more")
    about = "of those that are chosen, or else of all, the older ones (default: however old)"
    prune.add_argument("--older-than", type=float, metavar="DAYS", help=about)
    prune.add_argument("--yes", action="store_true", help="delete them")
    for action in (listing, show, prune):
        add_runs_option(action)


def _list(options: argparse.Namespace) -> None:
    store = _store(options)
    rows = _rows(store)
    if options.json:
        print_json(rows)
        return
    for row in rows:
        about = measured = ""
        if row["collection"] is not None:
            about = f"{row['collection']} | {row['encoder']} | {row['variant']} | seed {row['seed']}"
        if row["value"] is not None:
            measured = f"{row['measure']} {row['value']:.4f}"
        line = f"{row['key']}  {row['state']:10}  {row['time'][:16]}  {_size(row['bytes']):>8}  {measured:14}  {about}"
        print(one_line(line.rstrip()))
    print(one_line(f"{len(rows)} in {store.path}, {_size(sum(row['bytes'] for row in rows))}"))


def _show(options: argparse.Namespace) -> None:
    from armlib.experiments.result import Result, measures_as_text

    store = _store(options)
    (key,) = _chosen(store, [options.key])
    state = _state(store, key)
    result = Result(key, store.path / key) if state == "finished" else None
    files = {str(file.relative_to(store.path)): about.st_size for file, about in store.files(key).items()}
    if options.json:
        found = {"experiment": result.experiment.values(), "measures": result.measures.to_dict("records")} if result else {}
        print_json({"key": key, "state": state} | found | (result.about if result else {}) | {"files": files})
        return
    print(f"{key}  {state}")
    if result:
        for name, value in result.experiment.values().items():
            print(one_line(f"{name:18} {value}"))
        lines = [result.provenance_line(), *measures_as_text(result.measures).splitlines()]
        print(*map(one_line, lines), sep="\n")
    for file, size in files.items():
        print(one_line(f"{_size(size):>8}  {file}"))


def _prune(options: argparse.Namespace) -> None:
    store, days = _store(options), options.older_than
    kinds = [kind for kind in ("unfinished", "damaged") if getattr(options, kind)]
    if not (options.keys or kinds or days is not None):
        raise InputError("nothing is named to be deleted: expected keys, --unfinished, --damaged or --older-than DAYS")
    if days is not None and not days >= 0:
        raise InputError(f"--older-than takes a number of days from 0, not {days}")
    named, looked = _chosen(store, options.keys), {key: store.state_of(key) for key in store.keys()}
    every = [row for row in _rows(store) if row["key"] in looked]
    rows = [row for row in every if row["key"] in named or row["state"] in kinds or not (named or kinds)]
    if days is not None:
        rows = [row for row in rows if time.time() - datetime.fromisoformat(row["time"]).timestamp() > days * 24 * 3600]
    freed = 0
    for row in rows:
        if row["state"] == "running":
            print(f"{row['key']}  running     left, since a process is training it")
            continue
        if options.yes:
            store.delete(row["key"], looked[row["key"]])
        freed += row["bytes"]
        print(f"{row['key']}  {row['state']:10}  {_size(row['bytes']):>8}  {'deleted' if options.yes else 'would be deleted'}")
    print(f"{_size(freed)} {'freed' if options.yes else 'would be freed; --yes deletes'}")


def _store(options: argparse.Namespace) -> RunStore:
    from armlib.experiments.store import RunStore

    store = RunStore(options.runs)
    if not store.path.is_dir():
        raise InputError(f"there is no run store {store.path}; 'armlib train' makes one")
    return store


def _chosen(store: RunStore, given: Sequence[str]) -> list[str]:
    """The keys that begin with what was given, each with one of them."""
    keys, chosen = store.keys(), []
    for start in given:
        found = [key for key in keys if start and key.startswith(start)]
        if not found:
            raise unknown(f"key in {store.path}", start, keys)
        if len(found) > 1:
            raise InputError(f"{len(found)} keys begin with {start!r}: {', '.join(found[:10])}; expected more digits of one")
        chosen += found
    return chosen


def _state(store: RunStore, key: str) -> str:
    if store.is_running(key):
        return "running"
    state = store.state_of(key)
    return "unfinished" if state == "missing" else state  # a draft alone


def _rows(store: RunStore) -> list[dict[str, Any]]:
    """One row for each key, the oldest first."""
    results = {result.key: result for result in store.finished()}
    rows = [_row(store, key, results.get(key)) for key in store.keys()]
    return sorted(rows, key=lambda row: (row["time"], row["key"]))


def _row(store: RunStore, key: str, result: Result | None) -> dict[str, Any]:
    files, state = store.files(key), _state(store, key)
    row: dict[str, Any] = {"key": key, "state": state, "bytes": sum(each.st_size for each in files.values())}
    if result is None:
        touched = max((each.st_mtime for each in files.values()), default=0.0)
        moment = datetime.fromtimestamp(touched, UTC).isoformat(timespec="seconds")
        empty = dict.fromkeys(("collection", "encoder", "variant", "seed", "measure", "value"))
        return row | {"state": "damaged" if state == "finished" else state, "time": moment} | empty
    asked, measured = result.experiment, result.measures
    # Of the first collection, by full ranking where there is one.
    best = measured[(measured.measure == MEASURE) & measured.collection.isin(measured.collection[:1])].tail(1)
    return row | {
        "time": result.about["time"],
        "collection": asked.collection,
        "encoder": asked.encoder,
        "variant": asked.variant(),
        "seed": asked.seed,
        "measure": None if best.empty else MEASURE,
        "value": None if best.empty else float(best.value.iloc[0]),
    }


def _size(count: int) -> str:
    power = min(int(math.log(max(count, 1), 1000)), len(UNITS) - 1)
    return f"{count / 1000**power:.{min(power, 1)}f} {UNITS[power]}"
