"""Real triples on the circle: a query of a training batch and its negatives of Table 2, as near to their cosines as it gets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from armbook.batch_example import WIDTH, BatchExample, of_targets, passage_texts, typical_query
from armbook.explorer.circle import ROLES
from armbook.explorer.lessons import Lesson
from armbook.tables import shortened
from armlib.names import load_collection

TRIES = 40  # starts of the search for angles
STEPS = 60  # of gradient descent, that the lesson takes


@dataclass(frozen=True)
class RealTriples:
    """B triples of a batch, with the cosines that an encoder gives them and the angles that come nearest to these.

    Attributes:
        angles: degrees by role.
        texts: by role.
        own: cosines of query i with its positive and with its negative, (B, 2).
        between: cosines of positive i (rows) with negative j (columns), (B, B).
        error: root-mean-square difference of these cosines from those of the angles.
    """

    angles: dict[str, list[float]]
    texts: dict[str, list[str]]
    own: np.ndarray
    between: np.ndarray
    error: float

    @property
    def spread(self) -> float:
        """The shortest arc of the circle, in degrees, that holds all points."""
        ordered = np.sort([degrees for row in self.angles.values() for degrees in row])
        return 360 - float(np.diff(ordered, append=ordered[0] + 360).max())

    def lesson(self) -> Lesson:
        """The suggestion of the explorer that shows them under three targets."""
        targets = (1 + self.between) / 2
        see = (
            "The typical query of a training batch (q₁) and the triples whose negatives have its highest, middle and lowest "
            f"target, where the encoder before training puts them: within {self.spread:.0f}° of each other, with targets from "
            f"{targets.min():.2f} to {targets.max():.2f}. Point at a point to read its text. The circle keeps the encoder's "
            f"cosines with an error of {self.error:.2f} (root mean square)."
        )
        return Lesson("passages", "Real passages", see, "distributed", self.angles, {"compare": True}, STEPS, texts=self.texts)


def real_triples(example: BatchExample, query: int | None = None) -> RealTriples:
    """A query of a batch with its own triple, and the triples whose negatives Table 2 would show beside it.

    Args:
        example: a batch, of any encoder.
        query: counted from 0; None takes `armbook.batch_example.typical_query`.

    Returns:
        Three or four triples, that of the query first; texts are cut to `armbook.batch_example.WIDTH` characters.
    """
    first = typical_query(example) if query is None else query
    chosen = list(dict.fromkeys([first, *of_targets(example.targets[first]).values()]))
    ids = example.ids[chosen]
    collection = load_collection(example.collection)
    queries, passages = collection.queries(), passage_texts(collection, ids[:, 1:].ravel())
    found = [[queries[one] for one in ids[:, 0]], [passages[one] for one in ids[:, 1]], [passages[one] for one in ids[:, 2]]]
    own = np.column_stack([example.positive_relevance[chosen], example.relevance[chosen, chosen]])
    between = 2 * example.targets[np.ix_(chosen, chosen)] - 1
    radians, error = placed(own, between)
    return RealTriples(
        {role: [round(math.degrees(angle) % 360, 1) for angle in row] for role, row in zip(ROLES, radians, strict=True)},
        {role: [shortened(" ".join(text.split()), WIDTH) for text in row] for role, row in zip(ROLES, found, strict=True)},
        own,
        between,
        error,
    )


def placed(own: np.ndarray, between: np.ndarray) -> tuple[np.ndarray, float]:
    """Angles whose cosines come nearest, by least squares, to those that the losses compare; the first query is at the top.

    Args:
        own: (B, 2) and between: (B, B), as `RealTriples` has them.

    Returns:
        (3, B) radians by role, and the root mean square of what is left.
    """
    size = len(own)

    def differences(flat: np.ndarray) -> np.ndarray:
        queries, positives, negatives = flat.reshape(3, size)
        of_own = np.cos([queries - positives, queries - negatives]).T - own
        return np.concatenate([of_own.ravel(), (np.cos(positives[:, None] - negatives) - between).ravel()])

    numbers = np.random.default_rng(0)
    tries = [least_squares(differences, numbers.uniform(0, 2 * np.pi, 3 * size)) for _ in range(TRIES)]
    best = min(tries, key=lambda tried: tried.cost)
    return best.x.reshape(3, size) - best.x[0] + np.pi / 2, float(np.sqrt(np.mean(best.fun**2)))
