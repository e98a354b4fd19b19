"""What an encoder and a collection that a profile was not made for are trained with, where nothing else is said.

A profile's learning rate is that of its own encoders. The tiny ones, which start from latent semantic analysis, need one at which a
pre-trained encoder forgets what it has learned: on Cranfield all-MiniLM-L6-v2's nDCG@10 falls by more than half with 5e-4, and not
with 2e-5. So it is with lengths: those of docstrings cut most of an abstract off.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LENGTHS = {"query_length": 30, "passage_length": 200}
"""The paper's maximum lengths in tokens (section 4)."""

LEARNING_RATE = {"lsa": 5e-4, "pre-trained": 2e-5}
LEARNING_RATES = {"lsa": (5e-4, 1e-3, 2e-3), "pre-trained": (1e-5, 2e-5, 5e-5)}
"""From which losses take their best where they are tuned alike."""

OWN_RECORD = "armlib.json"  # in an encoder's folder that armlib has written: its lengths are those of a training run, and no limit
LENGTH_FILES = ("config.json", "sentence_bert_config.json", "0_Transformer/sentence_bert_config.json")
COUNT_FROM_PADDING = {"camembert", "mpnet", "roberta", "xlm-roberta"}  # their positions are numbered from behind the padding id


def encoder_kind(encoder: str) -> str:
    """Whether an encoder is made from the collection (``lsa``) or ``pre-trained``, by its name."""
    return "lsa" if encoder.partition("/")[0] == "lsa" else "pre-trained"


def own_values(profile: Mapping[str, Any], collection: str = "", encoder: str = "") -> dict[str, Any]:
    """The values of an experiment that differ from its profile's for a reader's own collection or encoder.

    Args:
        profile: the values of the profile's experiment.
        collection, encoder: those that were asked for; empty for the profile's own.

    Returns:
        ``learning_rate`` where the encoder is of another kind than the profile's; ``query_length`` and ``passage_length``, the
        paper's or the encoder's limit, where it is of another kind or the collection is not the profile's.
    """
    usual, asked = profile.get("encoder", "lsa/distilbert"), encoder or profile.get("encoder", "lsa/distilbert")
    another = encoder_kind(usual) != encoder_kind(asked)
    values: dict[str, Any] = {"learning_rate": LEARNING_RATE[encoder_kind(asked)]} if another else {}
    if another or (collection and collection != profile.get("collection")):
        limit = longest_text(asked)
        values |= {name: min(length, limit or length) for name, length in LENGTHS.items()}
    return values


def longest_text(encoder: str) -> int | None:
    """The most tokens that a pre-trained encoder says it takes: its positions, or what sentence-transformers cuts at.

    None where it says nothing, or where nothing of it is on this machine yet.
    """
    if encoder_kind(encoder) == "lsa":
        return None
    from armlib import storage

    said = []
    for name in LENGTH_FILES:
        file = _file(encoder, name)
        about = storage.read_json(file, dict) if file else {}
        positions = about.get("max_position_embeddings")
        if isinstance(positions, int) and about.get("model_type") in COUNT_FROM_PADDING:
            positions -= (about.get("pad_token_id") or 0) + 1
        said += [positions, None if _file(encoder, OWN_RECORD) else about.get("max_seq_length")]
    return min((length for length in said if isinstance(length, int) and length > 0), default=None)


def _file(encoder: str, name: str) -> Path | None:
    """A file of an encoder's folder, or of what was downloaded of it; None where there is none."""
    # Imported here: the help of a command shows the values above, and should not wait for these.
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    from armlib.names import encoder_folder

    folder = encoder_folder(encoder)
    if folder:
        return folder / name if (folder / name).is_file() else None
    try:
        found = try_to_load_from_cache(encoder, name)
    except HFValidationError:  # no name on the hub: whoever loads it says so
        return None
    return Path(found) if isinstance(found, str) else None
