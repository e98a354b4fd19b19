"""An encoder's folder as sentence-transformers reads it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from armlib.encoder.layout import MODES, Layout
from armlib.encoder.pooling import LINEAR
from armlib.encoder.pretrained import pooler_options
from armlib.storage import read_json, write_json

RECORD = "armlib.json"


def write_layout(
    draft: Path,
    backbone: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    layout: Layout,
    query_length: int,
    passage_length: int,
) -> None:
    """Fill a folder with sentence-transformers' own modules: Transformer, Pooling, perhaps Dense, Normalize.

    Args:
        draft: an empty folder.
        backbone: the Hugging Face encoder.
        tokenizer: its tokenizer.
        layout: pooling, linear layer, prompts and dimensions.
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
    mode = str(layout.pooling).removesuffix(LINEAR)
    pooling = Pooling(backbone.config.hidden_size, next(theirs for theirs, ours in MODES.items() if ours == mode))
    modules: list[nn.Module] = [transformer, pooling]
    if layout.linear is not None:
        linear = layout.linear
        dense = Dense(linear.in_features, linear.out_features, linear.bias is not None, nn.Identity())
        dense.linear.load_state_dict(linear.state_dict())
        modules.append(dense)
    modules.append(Normalize())
    prompts = {"query": layout.prompts.query, "document": layout.prompts.passage}
    model = SentenceTransformer(
        modules=modules, device="cpu", similarity_fn_name="cosine", prompts=prompts, truncate_dim=layout.truncate_dim
    )
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
