"""What a sentence-transformers folder says of its encoder: modules, lengths, prompts, dimensions; all of it kept, or refused.

Whatever is not known to leave embeddings as they are is refused by its name, since it would be lost without a word.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from armlib.encoder.pooling import LINEAR
from armlib.errors import InputError
from armlib.storage import read_json

MODES = {"cls": "cls", "mean": "mean", "lasttoken": "last"}  # sentence-transformers' names of poolings, and ours
EXPECTED = (
    "expected Transformer, Pooling (cls, mean or lasttoken), perhaps Dense without activation, and Normalize, as "
    "sentence-transformers itself writes them"
)
# What may stand in the configuration of the Transformer module, and with which values; further ones are read below.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "transformer_task": ("feature-extraction",),
    "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
    "module_output_name": ("token_embeddings",),
    "unpad_inputs": (None, True, False),
    "processing_kwargs": (None, {}),
    "query_expansion": (None,),
    "model_kwargs": (None, {}, {"add_pooling_layer": False}),
    "processor_kwargs": (None, {}),
    "config_kwargs": (None, {}),
}
POOLING_SETTINGS = {"pooling_mode", "include_prompt", "embedding_dimension", "word_embedding_dimension"}
CONTEXTUAL = "modeling_armlib_contextual.ContextualTransformer"
"""The module of an encoder that reads a context, whose file in the folder is for sentence-transformers and not run here."""
FORMER = {"model_args": "model_kwargs", "tokenizer_args": "processor_kwargs", "config_args": "config_kwargs"}


class Prompts(NamedTuple):
    """What is put in front of every query and of every passage, such as ``"query: "``."""

    query: str = ""
    passage: str = ""


class Layout(NamedTuple):
    """What a sentence-transformers folder says; of other folders nothing is known.

    Attributes:
        subfolder: where the Hugging Face encoder is.
        pooling: one of `armlib.encoder.pooling.POOLINGS`; None where nothing is said.
        linear: the layer behind the pooling.
        prompts: of queries and passages.
        query_length, passage_length: maximum lengths in tokens; None where nothing is said.
        truncate_dim: how many dimensions of the embedding are kept; None for all.
        lower_case: whether texts are put in lower case before they are tokenised.
        modules: whether it is such a folder.
        contextual: whether the encoder reads a context.
    """

    subfolder: str = ""
    pooling: str | None = None
    linear: nn.Linear | None = None
    prompts: Prompts = Prompts()
    query_length: int | None = None
    passage_length: int | None = None
    truncate_dim: int | None = None
    lower_case: bool = False
    modules: bool = False
    contextual: bool = False


def read_layout(source: str) -> Layout:
    """Read what a sentence-transformers folder or hub name says.

    Raises:
        InputError: it says something that `armlib.encoder.bi_encoder.BiEncoder` does not express.
    """
    # Imported here and below: sentence-transformers takes seconds to import, and only folders need it.
    from sentence_transformers.util import load_file_path

    listed = load_file_path(source, "modules.json")
    if listed is None:
        return Layout()
    kinds, paths = _modules(source, read_json(Path(listed)))
    settings = _transformer(source, paths[0])
    mode = _pooling(source, paths[1])
    linear = _dense(source, paths[kinds.index("Dense")]) if "Dense" in kinds else None
    if linear is not None and linear.bias is not None and "Normalize" in kinds[: kinds.index("Dense")]:
        raise _refused(source, "a Normalize module in front of a Dense one")
    about = load_file_path(source, "config_sentence_transformers.json")
    prompts, truncate_dim = _model(source, read_json(Path(about)) if about else {})
    longest = settings.get("max_seq_length")
    return Layout(
        paths[0],
        mode if linear is None else mode + LINEAR,
        linear,
        prompts,
        settings.get("query_length") or longest,
        settings.get("document_length") or longest,
        truncate_dim,
        bool(settings.get("do_lower_case")),
        True,
        kinds[0] == CONTEXTUAL,
    )


def _refused(source: str, what: str) -> InputError:
    return InputError(f"{source} has {what}, which armlib cannot represent; {EXPECTED}")


def _modules(source: str, listed: Any) -> tuple[list[str], list[str]]:
    """Kinds and subfolders of the modules in their order."""
    kinds, paths = [], []
    for module in listed:
        own = module["type"].startswith("sentence_transformers.")
        kinds.append(module["type"].rpartition(".")[2] if own else module["type"])
        paths.append(module["path"])
        if module.get("kwargs"):
            raise _refused(source, f"the module {kinds[-1]} with the settings {module['kwargs']}")
    behind = [kind for kind in kinds[2:] if kind != "Normalize"]
    if kinds[:2] not in (["Transformer", "Pooling"], [CONTEXTUAL, "Pooling"]) or behind not in ([], ["Dense"]):
        raise _refused(source, f"the modules {', '.join(kinds)[:200]}")
    return kinds, paths


def _transformer(source: str, subfolder: str) -> dict[str, Any]:
    from sentence_transformers.base.modules import Transformer

    found = Transformer.load_config(source, subfolder=subfolder)
    settings = {FORMER.get(name, name): value for name, value in found.items()}
    lengths = {"max_seq_length", "query_length", "document_length"}
    for name, value in settings.items():
        if name in lengths and value is not None and (type(value) is not int or value < 1):
            raise InputError(f"{source} says {name} is {value!r}; expected a whole number of tokens")
        if name not in lengths | {"do_lower_case"} and value not in NEUTRAL.get(name, ()):
            raise _refused(source, f"{name} {str(value)[:200]} in the configuration of its Transformer module")
    return settings


def _pooling(source: str, subfolder: str) -> str:
    from sentence_transformers.sentence_transformer.modules import Pooling

    settings = Pooling.load_config(source, subfolder=subfolder)
    if "pooling_mode" not in settings:
        raise InputError(f"{source} lists a Pooling module, but nothing in {subfolder}/config.json says how it pools")
    mode = settings["pooling_mode"]
    if isinstance(mode, list | tuple) and len(mode) == 1:
        mode = mode[0]
    if mode not in MODES if isinstance(mode, str) else True:
        raise _refused(source, f"the pooling {mode if isinstance(mode, str) else ' and '.join(mode)}")
    if unknown := sorted(settings.keys() - POOLING_SETTINGS):
        raise _refused(source, f"{unknown[0]} in the configuration of its Pooling module")
    if not settings.get("include_prompt", True):
        raise _refused(source, "a pooling without the tokens of the prompt (include_prompt false)")
    return MODES[mode]


def _dense(source: str, subfolder: str) -> nn.Linear:
    from sentence_transformers.base.modules import Dense

    dense = Dense.load(source, subfolder=subfolder)
    activation = type(dense.activation_function).__name__
    if activation != "Identity" or dense.use_residual:
        raise _refused(source, f"a Dense module with {'a residual' if dense.use_residual else f'activation {activation}'}")
    if {dense.module_input_name, dense.module_output_name} != {"sentence_embedding"}:
        raise _refused(source, f"a Dense module from {dense.module_input_name} to {dense.module_output_name}")
    return dense.linear


def _model(source: str, settings: dict[str, Any]) -> tuple[Prompts, int | None]:
    """Prompts and dimensions of ``config_sentence_transformers.json``."""
    kind = settings.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise _refused(source, f"a model of type {kind}")
    if settings.get("similarity_fn_name") not in (None, "cosine"):
        warnings.warn(f"{source} was made for {settings['similarity_fn_name']} similarity; cosine is used here", stacklevel=6)
    dimensions = settings.get("truncate_dim")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise InputError(f"{source} says truncate_dim is {dimensions!r}; expected a whole number of dimensions")
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise InputError(f"{source} says prompts are {str(prompts)[:200]}; expected a text by each name, such as query")
    given = {name: text for name, text in prompts.items() if text}
    # A passage prompt has one of these names; the first that is not empty counts.
    passage = next((name for name in ("document", "passage", "corpus") if name in given), "")
    unused = {name: text for name, text in given.items() if name not in ("query", passage)}
    if unused:
        warnings.warn(
            f"{source} has prompts that belong neither to queries nor to passages, and are not used: {str(unused)[:300]}; "
            "query_prompt and passage_prompt choose others",
            stacklevel=6,
        )
    return Prompts(given.get("query", ""), given.get(passage, "")), dimensions
