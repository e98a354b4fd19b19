"""The loss explorer: points on the circle to move and to send downhill under one target or three, in a notebook or on a page."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from matplotlib.colors import to_hex

from armbook.explorer.circle import BATCH, CircleLoss, check_angles, loss_on_circle, step
from armbook.explorer.lessons import LESSONS, MOST_STEPS, Lesson
from armbook.style import COLOURS
from armlib.errors import InputError, unknown
from armlib.losses import ERRORS, READINGS, Adaptive, Distributed, MarginLoss, Mean, Static, Target, Variance

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise InputError(f"the explorer needs a package that is not installed ({error.name}): pip install 'armlib[book]'") from error


_STATIC = resources.files("armbook") / "explorer"
_KINDS: dict[str, type] = {"adaptive": Adaptive, "distributed": Distributed, "mean": Mean, "variance": Variance}
_SETTINGS = ("target", "value", "penalty", "in_batch", "error", "reading", "stop_gradient")
SYNCED = ("angles", *_SETTINGS, "chosen", "colours", "steps", "compare", "seed", "lesson", "lessons")
# What a page without a kernel gives the module in place of the notebook's model: the same methods, and no Python behind them.
_PAGE = """
const source = new Blob([%s], {type: "text/javascript"});
const {default: explorer} = await import(URL.createObjectURL(source));
for (const el of document.querySelectorAll(".armlib-explorer-page:not([data-started])")) {
  const state = JSON.parse(el.dataset.state), listeners = {};
  el.dataset.started = "";
  el.replaceChildren();
  explorer.render({el, model: {
    get: key => state[key],
    set(key, value) { state[key] = value; for (const listener of listeners["change:" + key] ?? []) listener(); },
    save_changes() {},
    on(event, listener) { (listeners[event] ??= []).push(listener); },
    off(event, listener) { listeners[event] = (listeners[event] ?? []).filter(other => other !== listener); },
  }});
}
"""


class Refused(InputError, traitlets.TraitError):
    """A state that the explorer cannot show; as a `TraitError` it makes traitlets return to the state before."""


class LossExplorer(anywidget.AnyWidget):
    """Triples on the unit circle under a margin loss (Figure 2 of arXiv 2407.21515), to be moved by mouse, touch and keyboard.

    Every trait is shared with the browser: assign it to change what is shown, ``observe`` it to be told of what the reader
    does. In a saved notebook and on a built page the same drawing runs without a kernel.

    Args:
        target, in_batch, error, reading, stop_gradient: as for `armlib.losses.MarginLoss`.
        angles: degrees, counter-clockwise from the right, for ``queries``, ``positives`` and ``negatives``, from which gradient
            descent starts.
        chosen: the triple whose targets are marked on the circle, counted from 0.
        steps: of gradient descent, that the points have come from there, at most `armbook.explorer.lessons.MOST_STEPS`.
        compare: show static, adaptive and distributed targets side by side; the others of the loss's settings hold for all three.
        lessons: what is suggested.

    Raises:
        InputError: a loss or angles that are not defined; also where a trait is assigned a value that does not go with the
            others, which then stay as they were. `show` changes several at once.
    """

    _esm = (_STATIC / "explorer.mjs").read_text(encoding="utf8")
    _css = (_STATIC / "explorer.css").read_text(encoding="utf8")
    angles = traitlets.Dict().tag(sync=True)
    target = traitlets.Enum(["static", *_KINDS], "adaptive").tag(sync=True)
    value = traitlets.Float(0.5).tag(sync=True)
    penalty = traitlets.Float(0.0).tag(sync=True)
    in_batch = traitlets.Bool(False).tag(sync=True)
    error = traitlets.Enum(list(ERRORS), "squared").tag(sync=True)
    reading = traitlets.Enum(list(READINGS), "paper").tag(sync=True)
    stop_gradient = traitlets.Bool(False).tag(sync=True)
    chosen = traitlets.Int(0, min=0).tag(sync=True)
    steps = traitlets.Int(0, min=0, max=MOST_STEPS).tag(sync=True)
    compare = traitlets.Bool(False).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**32 - 1).tag(sync=True)
    lesson = traitlets.Unicode("").tag(sync=True)
    lessons = traitlets.List().tag(sync=True)
    colours = traitlets.Dict({name: to_hex(colour) for name, colour in COLOURS.items()}, read_only=True).tag(sync=True)

    def __init__(
        self,
        target: str | Target = "adaptive",
        in_batch: bool = False,
        error: str = "squared",
        reading: str = "paper",
        stop_gradient: bool = False,
        *,
        angles: Mapping[str, Sequence[float]] = BATCH,
        chosen: int = 0,
        steps: int = 0,
        compare: bool = False,
        lessons: Sequence[Lesson] = LESSONS,
    ) -> None:
        loss = MarginLoss(target, in_batch, error, reading, stop_gradient)
        suggested = [lesson.shared() for lesson in lessons]
        shown = {"chosen": chosen, "steps": steps, "compare": compare, "lessons": suggested}
        super().__init__(angles=check_angles(angles), **shown, **_settings(loss))

    @classmethod
    def suggesting(cls, *further: Lesson) -> LossExplorer:
        """An explorer that opens with the first of `armbook.explorer.lessons.LESSONS` and suggests these lessons after them."""
        explorer = cls(lessons=[*LESSONS, *further])
        explorer.take(LESSONS[0].key)
        return explorer

    def take(self, lesson: str) -> None:
        """Set what a suggestion sets, before its steps.

        Raises:
            InputError: there is no such suggestion.
        """
        states = {each["key"]: each["state"] for each in self.lessons}
        if lesson not in states:
            raise unknown("lesson", lesson, states)
        with self.hold_trait_notifications():
            for name, value in states[lesson].items():
                setattr(self, name, value)

    def show(
        self,
        target: str | Target,
        in_batch: bool = False,
        error: str = "squared",
        reading: str = "paper",
        stop_gradient: bool = False,
    ) -> None:
        """Change to another loss; the arguments are those of `MarginLoss`."""
        with self.hold_trait_notifications():
            for name, value in _settings(MarginLoss(target, in_batch, error, reading, stop_gradient)).items():
                setattr(self, name, value)

    @property
    def loss(self) -> MarginLoss:
        """The loss that is shown."""
        return _loss({name: getattr(self, name) for name in _SETTINGS})

    def moved(self) -> dict[str, list[float]]:
        """Where the points are after `steps` steps under `loss`, in degrees, computed here by `armlib.losses.margins`."""
        angles: dict[str, list[float]] = self.angles
        for _ in range(self.steps):
            angles = step(angles, self.loss)
        return angles

    def measured(self) -> CircleLoss:
        """Loss, margins, targets and pulls of what is shown, computed as `moved`."""
        return loss_on_circle(self.moved(), self.loss)

    @traitlets.validate("angles")
    def _angles_are_defined(self, proposal: traitlets.Bunch) -> dict[str, list[float]]:
        try:
            return check_angles(proposal["value"])
        except InputError as error:
            raise Refused(str(error)) from None

    @traitlets.validate(*_SETTINGS)
    def _loss_is_defined(self, proposal: traitlets.Bunch) -> object:
        state = {name: getattr(self, name) for name in _SETTINGS} | {proposal["trait"].name: proposal["value"]}
        try:
            Static(state["value"], state["penalty"])  # is kept while other targets are shown, so it is checked with them too
            _loss(state)
        except InputError as error:
            raise Refused(str(error)) from None
        return proposal["value"]

    def static_html(self) -> str:
        """The explorer as a piece of a page: module and style inlined, so that it needs no kernel, network or server."""
        state = html.escape(json.dumps({name: getattr(self, name) for name in SYNCED}))
        module = json.dumps(self._module()).replace("<", "\\u003c")  # nothing in it may end the script
        return (
            f'<div class="armlib-explorer-page" data-state="{state}"><noscript><p>The loss explorer needs JavaScript; the '
            f"figure and the numbers of this page do not.</p></noscript></div>\n<style>{self._style()}</style>\n"
            f'<script type="module">{_PAGE % module}</script>'
        )

    @staticmethod
    def _module() -> str:
        return (_STATIC / "explorer.mjs").read_text(encoding="utf8")

    @staticmethod
    def _style() -> str:
        return (_STATIC / "explorer.css").read_text(encoding="utf8")

    def _repr_mimebundle_(self, **options: object) -> tuple[dict, dict] | None:
        shown = super()._repr_mimebundle_(**options)
        data, metadata = shown if isinstance(shown, tuple) else (shown or {}, {})
        return {**data, "text/html": self.static_html()}, metadata


def _loss(settings: Mapping[str, Any]) -> MarginLoss:
    """The loss that the traits stand for."""
    kind = settings["target"]
    target = Static(settings["value"], settings["penalty"]) if kind == "static" else _KINDS[kind]()
    return MarginLoss(target, *(settings[name] for name in ("in_batch", "error", "reading", "stop_gradient")))


def _settings(loss: MarginLoss) -> dict[str, object]:
    """The traits that stand for a loss."""
    kind = str(loss.target).split("(")[0]
    static = {"value": loss.target.value, "penalty": loss.target.variance} if isinstance(loss.target, Static) else {}
    given = {name: getattr(loss, name) for name in ("in_batch", "error", "reading", "stop_gradient")}
    return {"target": kind, **static, **given}
