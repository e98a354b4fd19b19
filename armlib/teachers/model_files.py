"""Models of Hugging Face: loaded with nothing run that came with the files, and what they are by the contents of these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from armlib.data.fingerprints import fingerprint_of, fingerprint_of_files
from armlib.encoder.pretrained import check_files, check_reachable, quiet_transformers
from armlib.errors import InputError
from armlib.storage import file_digest

ENDINGS = {".json", ".safetensors", ".bin", ".txt", ".model"}
"""Of weights, settings and vocabularies."""


def model_name(name: object, kind: str) -> str:
    """A folder or a name on the hub, as it was given.

    Raises:
        InputError: it is no text, or an empty one.
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"a {kind} is named by a folder or a name on the hub in quotes, not {name!r}")
    return name


def load_model(name: str, kind: str, loader: Any, check: Callable[[Any], None]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model with all its weights, in float32 and evaluation mode, and a tokenizer that can pad.

    Args:
        name: a folder, or a name on the hub.
        kind: what it should be, for messages.
        loader: one of transformers' ``AutoModelFor...``.
        check: called with the configuration before the weights are read; raises an InputError where it is of another kind.

    Raises:
        InputError: it cannot be loaded, lacks weights, is of another kind, or has no padding token.
    """
    with quiet_transformers():
        try:
            if Path(name).is_dir():
                check_files(Path(name))
            else:
                check_reachable(name)
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
            check(config)
            model, report = loader.from_pretrained(
                name, config=config, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        except InputError:
            raise
        except Exception as error:  # the files are anybody's, and each library that reads them has errors of its own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
            said = f"the {kind} {name!r} cannot be loaded ({reason}); expected a folder or a name on the hub"
            raise InputError(said) from error
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{name} lacks {len(missing)} weights of {type(model).__name__}, {missing[0]} among them; expected a trained {kind}"
        )
    if tokenizer.pad_token_id is None:
        raise InputError(f"the tokenizer of the {kind} {name!r} has no padding token; expected one that has")
    if not tokenizer.model_max_length >= 1:
        raise InputError(
            f"the tokenizer of the {kind} {name!r} cuts texts at {tokenizer.model_max_length} tokens (model_max_length); "
            "expected at least 1"
        )
    return model.eval(), tokenizer


def architectures(config: Any) -> str:
    """What a configuration says that the model is, as a phrase."""
    return ", ".join(getattr(config, "architectures", None) or ["a model of unknown kind"])


def fingerprint_of_model(name: str, load: Callable[[], object]) -> str:
    """16 hexadecimal digits of a model's weights, settings and vocabulary.

    Args:
        name: a folder, or a name on the hub.
        load: called where the model has not been downloaded yet; says what is wrong with the name.
    """
    folder = Path(name)
    if not folder.is_dir():
        settings = _downloaded_settings(name)
        if settings is None:
            load()
            settings = _downloaded_settings(name)
        assert settings is not None, "a model that was loaded is in the hub's cache"
        folder = settings.parent
    files = sorted(file for file in folder.rglob("*") if file.suffix in ENDINGS and file.is_file())

    def compute() -> str:
        return fingerprint_of(part for file in files for part in (file.relative_to(folder).as_posix(), file_digest(file)))

    return fingerprint_of_files(files, "model", compute)


def _downloaded_settings(name: str) -> Path | None:
    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # no name on the hub
        return None
    return Path(found) if isinstance(found, str) else None
