"""What figures show, read back from them, and what it is compared with."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes


def named_lines(axes: Axes) -> dict[str, np.ndarray]:
    """(n, 2) points of the lines of an axes that have a name, their gid."""
    return {line.get_gid(): np.column_stack(line.get_data()) for line in axes.lines if line.get_gid()}


def smoothed(values: pd.Series) -> np.ndarray:
    """Means over 32 values, or over as many as there are so far."""
    return values.rolling(32, min_periods=1).mean().to_numpy()
