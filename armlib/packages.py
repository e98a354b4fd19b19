"""Packages that are imported when they are first needed: much of armlib does without them, and they take their time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from armlib.errors import InputError


@cache
def faiss() -> Any:
    """The module of FAISS.

    Raises:
        InputError: it is not installed.
    """
    with _needed("faiss", "searching and clustering need FAISS", "pip install --editable '.[cpu]'"):
        import faiss as module
    return module


@cache
def bm25s() -> Any:
    """The module bm25s.

    Raises:
        InputError: it is not installed.
    """
    with _needed("bm25s", "BM25 needs the package bm25s", "pip install bm25s"):
        import bm25s as module
    return module


@cache
def ir_measures() -> Any:
    """The module ir_measures.

    Raises:
        InputError: it is not installed.
    """
    with _needed("ir_measures", "measuring needs the package ir-measures", "pip install ir-measures"):
        import ir_measures as module
    return module


@contextmanager
def _needed(name: str, need: str, install: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and lacks something itself
            raise
        raise InputError(f"{need}, which is not installed; install it with: {install}") from error
