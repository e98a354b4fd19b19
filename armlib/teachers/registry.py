"""Teachers by name. A new family of teachers is one module beside this one, and its line in `TEACHERS` or `PAIRWISE`."""

from __future__ import annotations

from collections.abc import Callable

from armlib.parsing import parse_call
from armlib.teachers.base import PairwiseTeacher, ScoreSource
from armlib.teachers.bi_encoder import BiEncoderTeacher
from armlib.teachers.cross_encoder import CrossEncoderTeacher
from armlib.teachers.interaction import InteractionTeacher
from armlib.teachers.pairwise import PairwiseInteractionTeacher
from armlib.teachers.score_files import RunFile, ScoreFile
from armlib.teachers.two_passages import DuoT5, PairwiseCrossEncoder

TEACHERS: dict[str, Callable[..., ScoreSource]] = {
    "cross-encoder": CrossEncoderTeacher,
    "bi-encoder": BiEncoderTeacher,
    "interaction": InteractionTeacher,
    "scores": ScoreFile,
    "run": RunFile,
}
"""By name, what scores a query and a passage."""

PAIRWISE: dict[str, Callable[..., PairwiseTeacher]] = {
    "pairwise-interaction": PairwiseInteractionTeacher,
    "pairwise-cross-encoder": PairwiseCrossEncoder,
    "duo-t5": DuoT5,
}
"""By name, what compares two passages."""


def parse_teacher(text: str) -> ScoreSource:
    """The teacher that a string such as ``cross-encoder('NAME')`` names; ``str(parse_teacher(text))`` is its canonical form.

    Raises:
        InputError: there is no such teacher, or its settings cannot be read.
    """
    return parse_call(text, "teacher", TEACHERS)


def parse_pairwise_teacher(text: str) -> PairwiseTeacher:
    """The teacher of two passages that a string such as ``duo-t5('NAME')`` names.

    Raises:
        InputError: there is no such teacher, or its settings cannot be read.
    """
    return parse_call(text, "pairwise teacher", PAIRWISE)
