"""The checker of signatures that `test_shapes` uses: beartype, which takes a whole number for a number, as Python's types do."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
