"""What others may read of a collection's and an encoder's name, and what is known of a collection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from armlib.names import encoder_folder

PATHS = ("/", "~", ".")  # what a name that is a path begins with


class Known(NamedTuple):
    """What is known of a collection: the licence of its texts, what its measures are not, and its id on the Hugging Face hub."""

    licence: str = ""
    caution: str = ""
    hub: str = ""


MSMARCO = "MS MARCO is for non-commercial research"
NO_BENCHMARK = "Measures on it are not results on a public benchmark"
# By the beginning of a collection's name; of others nothing is claimed.
KNOWN = {
    "docstrings": Known("the texts have the licences of the packages that they come from", NO_BENCHMARK),
    "msmarco-mini": Known(MSMARCO, "Measures on it are not results on MS MARCO or TREC-DL"),
    "msmarco-passage": Known(MSMARCO, hub="microsoft/ms_marco"),
    "beir/msmarco": Known(MSMARCO, hub="BeIR/msmarco"),
}
# What the organisation BeIR has on the hub under the name that ir_datasets gives it.
ON_THE_HUB = (
    "arguana",
    "climate-fever",
    "fever",
    "fiqa",
    "hotpotqa",
    "nfcorpus",
    "nq",
    "quora",
    "scidocs",
    "scifact",
    "trec-covid",
)


def known_of(collection: str) -> Known:
    """What is known of a collection by its name; nothing of most."""
    found = next((known for start, known in KNOWN.items() if collection == start or collection.startswith(f"{start}/")), None)
    if found is None:
        beir = re.match(r"beir/([^/]+)(/|$)", collection)
        found = Known(hub=f"BeIR/{beir[1]}") if beir and beir[1] in ON_THE_HUB else Known()
    return found


def public_encoder(name: str) -> str:
    """An encoder as others may read it: of a folder, its own name."""
    return Path(name).name if encoder_folder(name) or name.startswith(PATHS) else name


def is_on_the_hub(encoder: str) -> bool:
    """Whether an encoder's name is one of the Hugging Face hub: it is no folder, and not made here."""
    return not encoder.startswith("lsa/") and encoder_folder(encoder) is None


def public_name(name: str) -> str:
    """A collection as others may read it: of a path, the end, with the split where there is one; so of paths within quotes."""
    if not name.startswith(PATHS):
        return re.sub(r"""(['"])([/~.][^'"]*)\1""", lambda found: f"{found[1]}{Path(found[2]).name}{found[1]}", name)
    path = Path(name)
    whole = path.name.endswith((".tsv", ".tsv.gz")) or path.is_dir()
    return "/".join(path.parts[-1 if whole else -2 :])
