"""Names with settings, whatever is written: read and written back the same, or refused in one sentence."""

from pathlib import Path

from hypothesis import strategies as st

from armlib.losses import parse_loss, parse_target
from fuzzing import mutated, tried_on

LOSSES = (b"adaptive(in_batch=True)", b"static(0.3, variance=0.1, error='soft')", b"distributed(reading='released-code')")


@tried_on("losses", st.sampled_from(LOSSES).flatmap(mutated))
def test_a_loss_is_read_or_refused(folder: Path, written: bytes) -> None:
    loss = parse_loss(written.decode("utf8", "replace"))
    assert str(parse_loss(str(loss))) == str(loss)


@tried_on("targets", st.sampled_from((b"static(0.3)", b"variance")).flatmap(mutated))
def test_a_target_is_read_or_refused(folder: Path, written: bytes) -> None:
    target = parse_target(written.decode("utf8", "replace"))
    assert str(parse_target(str(target))) == str(target)
