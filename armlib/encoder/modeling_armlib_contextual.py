"""For sentence-transformers: an encoder that armlib trained to read a context behind every text.

The folder holds vectors of the passages of the context; they stand behind the hidden states of a text as further positions, and a
bias is added to the attention scores of them. armlib writes this file into folders and does not run it itself.
"""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Transformer

TENSORS = "context.safetensors"
LOADING = ("token", "cache_folder", "revision", "local_files_only")


class ContextualTransformer(Transformer):
    """The second stage: token embeddings of texts that were read together with the context of the folder."""

    tensors: dict[str, torch.Tensor]

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **options: Any) -> ContextualTransformer:
        """Load the encoder, and what it needs to read its context."""
        module = super().load(model_name_or_path, subfolder=subfolder, **options)
        where = {name: options[name] for name in LOADING if name in options}
        path = cls.load_file_path(model_name_or_path, TENSORS, subfolder=subfolder, **where)
        if path is None:
            raise ValueError(f"{model_name_or_path} lacks {TENSORS}, the context that its encoder reads.")
        module.tensors = load_file(path)
        vectors, weight, bias = (module.tensors[name] for name in ("vectors", "project.weight", "project.bias"))
        context = torch.nn.functional.linear(vectors, weight, bias)  # (C, E) to (C, D)
        module.register_buffer("context", context, persistent=False)  # (C, D)
        module.register_buffer("context_bias", module.tensors["bias"], persistent=False)
        return module

    def forward(self, features: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Fill in ``token_embeddings`` (n, L, D) of ``input_ids`` and ``attention_mask``, (n, L) each."""
        model = self.model
        if model.config._attn_implementation not in ("sdpa", "eager"):
            raise ValueError(f"The context needs sdpa or eager attention, not {model.config._attn_implementation}.")
        mask = features["attention_mask"]
        hidden = model.embeddings(input_ids=features["input_ids"])  # (n, L, D)
        context = self.context.to(hidden.dtype).expand(len(hidden), -1, -1)  # (n, C, D)
        padding = torch.zeros_like(mask, dtype=hidden.dtype).masked_fill(mask == 0, float("-inf"))
        seen = torch.cat([padding, self.context_bias.to(hidden.dtype).expand(context.shape[:2])], 1)[
            :, None, None
        ]  # (n, 1, 1, L + C)
        states = torch.cat([hidden, context], 1)  # (n, L + C, D)
        for layer in (getattr(model, "transformer", None) or model.encoder).layer:
            states = layer(states, seen)
        features["token_embeddings"] = states[:, : hidden.shape[1]]
        return features

    def save(self, output_path: str, *arguments: Any, **options: Any) -> None:
        """Save the encoder, and what it needs to read its context."""
        super().save(output_path, *arguments, **options)
        save_file(self.tensors, f"{output_path}/{TENSORS}")
