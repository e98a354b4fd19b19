"""What the explorer suggests to try: each suggestion sets a state, takes steps of gradient descent and says what to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from armbook.explorer.circle import BATCH, ROLES, check_angles, random_start
from armlib.errors import InputError

PLAIN = {
    "value": 0.5,
    "penalty": 0.0,
    "in_batch": False,
    "error": "squared",
    "reading": "paper",
    "stop_gradient": False,
    "compare": False,
    "chosen": 0,
}
"""The settings that a lesson starts from."""
COLLAPSING = (
    47  # the seed of a random start in which adaptive targets end with three margins near 0, and distributed ones with none
)
MOST_STEPS = 200  # of gradient descent that the explorer takes


@dataclass(frozen=True)
class Lesson:
    """A suggestion of the explorer.

    Attributes:
        key: a word, different for each.
        title: what stands on its button.
        see: a sentence or two on what there is to see.
        target: the variant that is looked at.
        angles: degrees by role, see `armbook.explorer.circle.check_angles`.
        settings: other traits of the explorer, where they differ from `PLAIN`.
        steps: of gradient descent, that the button takes.
        detail: whether the table of all differences is opened.
        texts: by role what the points stand for, a text each; none where they stand for nothing.

    Raises:
        InputError: angles or texts that are not defined, or more than `MOST_STEPS` steps.
    """

    key: str
    title: str
    see: str
    target: str
    angles: Mapping[str, Sequence[float]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 0
    detail: bool = False
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = len(check_angles(self.angles)["queries"])
        if self.texts and (sorted(self.texts) != sorted(ROLES) or {len(each) for each in self.texts.values()} != {size}):
            raise InputError(f"expected {size} texts for each of {', '.join(ROLES)}, got {self.texts!r}")
        if not 0 <= self.steps <= MOST_STEPS:
            raise InputError(f"a lesson takes from 0 to {MOST_STEPS} steps, not {self.steps}")

    def state(self) -> dict[str, Any]:
        """The traits of the explorer that the lesson sets, before its steps."""
        angles = {role: list(self.angles[role]) for role in ROLES}
        return {**PLAIN, "target": self.target, **self.settings, "angles": angles, "lesson": self.key, "steps": 0}

    def shared(self) -> dict[str, Any]:
        """What the browser is told."""
        return {**asdict(self), "state": self.state(), "texts": {role: list(texts) for role, texts in self.texts.items()}}


TURNS = (0.0, 40.0, 110.0, 200.0)
RESTING = {"queries": [90 + turn for turn in TURNS], "positives": list(TURNS), "negatives": [(180 + turn) % 360 for turn in TURNS]}
"""Four triples whose query stands at right angles to two opposite passages: margin and adaptive target are 0."""
LESSONS = (
    Lesson(
        "one",
        "One triple",
        "Move the slider. The margin is the distance along the query's axis from d⁻ to d⁺; the adaptive target shrinks as d⁻ "
        "leaves d⁺. Where the two have the same length, nothing is pulled.",
        "adaptive",
        {"queries": [90.0], "positives": [50.0], "negatives": [75.0]},
    ),
    Lesson(
        "three",
        "Three targets",
        "The same four triples under three targets. Static: every margin ends at ε. Adaptive: each triple ends at a margin of its "
        "own. Distributed: slower, since one margin has to meet four targets, and can do so only once these have become equal.",
        "adaptive",
        BATCH,
        {"compare": True},
        60,
    ),
    Lesson(
        "collapse",
        "A start that collapses",
        f"Random start {COLLAPSING}. Under adaptive targets the loss falls to 0 while three margins end near 0: the target came "
        "down to meet the margin. Static targets cannot do that, and here distributed ones do not.",
        "adaptive",
        random_start(COLLAPSING),
        {"compare": True, "seed": COLLAPSING},
        200,
    ),
    Lesson(
        "rest",
        "Rest without ranking",
        "Each query is equally near to both of its passages, and they are opposite: margin 0, adaptive target 0, loss 0. No point "
        "moves under adaptive targets. The other two pull at once.",
        "adaptive",
        RESTING,
        {"compare": True},
        60,
    ),
    Lesson(
        "constants",
        "Targets as constants",
        "Distributed targets without gradient: a negative is pulled on account of its own query alone. Untick “Targets as "
        "constants” under All settings, and every positive pulls it too.",
        "distributed",
        BATCH,
        {"stop_gradient": True},
    ),
    Lesson(
        "readings",
        "Two readings",
        "Adaptive targets in batch, as the released code computes them. Point at the cell in row d₁⁺, column d₂⁻: it compares "
        "similarities of two different queries. Choose the paper's reading under All settings, and both are of query 1.",
        "adaptive",
        BATCH,
        {"in_batch": True, "reading": "released-code"},
        detail=True,
    ),
)
