"""What a model of Hugging Face is, by the contents of its files, told without loading it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from armlib.data.fingerprints import fingerprint_of, fingerprint_of_files
from armlib.storage import file_digest

ENDINGS = {".json", ".safetensors", ".bin", ".txt", ".model"}
"""Of weights, settings and vocabularies."""


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
