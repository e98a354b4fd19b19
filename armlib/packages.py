"""Packages that are imported when they are first needed: much of armlib does without them, and they take their time."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from armlib.errors import InputError


@cache
def faiss() -> Any:
    """The module of FAISS.

    Raises:
        InputError: it is not installed.
    """
    return _module("faiss", "searching and clustering need FAISS", "pip install 'armlib[cpu]'")


@cache
def bm25s() -> Any:
    """The module bm25s.

    Raises:
        InputError: it is not installed.
    """
    return _module("bm25s", "BM25 needs the package bm25s", "pip install 'bm25s>=0.3.10'")


@cache
def ir_measures() -> Any:
    """The module ir_measures.

    Raises:
        InputError: it is not installed.
    """
    return _module("ir_measures", "measuring needs the package ir-measures", "pip install 'ir-measures>=0.3.6'")


@cache
def onnxscript() -> Any:
    """The module onnxscript.

    Raises:
        InputError: it is not installed.
    """
    return _module("onnxscript", "exporting ONNX needs the package onnxscript", "pip install onnx onnxscript onnxruntime")


@cache
def onnxruntime() -> Any:
    """The module of ONNX Runtime.

    Raises:
        InputError: it is not installed.
    """
    return _module("onnxruntime", "exporting ONNX needs the package onnxruntime", "pip install onnx onnxscript onnxruntime")


@cache
def pyterrier() -> Any:
    """The module pyterrier.

    Raises:
        InputError: it is not installed.
    """
    return _module("pyterrier", "transformers of PyTerrier need the package pyterrier", "pip install pyterrier")


def _module(name: str, need: str, install: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and lacks something itself
            raise
        raise InputError(f"{need}, which is not installed; install it with: {install}") from error
