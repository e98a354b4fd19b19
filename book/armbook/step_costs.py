"""What a training step of each cell of the factorial costs, measured in turn, so that other work on the machine meets all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from armbook.factorial import Cell
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.training_data import TrainingData
from armlib.training.gradients import batch_gradients
from armlib.training.processes import default_accelerator

ROUNDS, STEPS = 8, 2


def step_costs(results: Mapping[Cell, Sequence[Result]], rounds: int = ROUNDS) -> dict[Cell, float]:
    """Processor milliseconds of the gradient of one batch, of the encoders before training; the median of some rounds.

    Args:
        results: of each cell, of which the first says what is trained.
        rounds: in each of which every cell takes `STEPS` steps, after one that is not measured.
    """
    takers = {cell: _taker(some[0].experiment) for cell, some in results.items()}
    spent: dict[Cell, list[float]] = {cell: [] for cell in takers}
    for number in range(1 + rounds):
        for cell, take in takers.items():
            before = time.process_time()
            for step in range(STEPS):
                take(STEPS * number + step)
            if number:
                spent[cell].append(1000 * (time.process_time() - before) / STEPS)
    return {cell: median(values) for cell, values in spent.items()}


def _taker(experiment: Experiment) -> Callable[[int], object]:
    data, accelerator = TrainingData(experiment), default_accelerator()
    encoder, batches, loss, settings = data.encoder, data.batches(), experiment.make_loss(), experiment.settings()
    encoder.to(accelerator.device).train()

    def take(step: int) -> None:
        encoder.zero_grad(set_to_none=True)
        batch_gradients(encoder, loss, batches[step % batches.steps_per_epoch].to(accelerator.device), accelerator, settings, step)

    return take
