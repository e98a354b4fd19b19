"""Whatever a run file holds: it is read to a run that can be written and read again, or refused in one sentence."""

from __future__ import annotations

import gzip
import math
import unicodedata
from pathlib import Path

from hypothesis import strategies as st

from armlib.retrieval.run_files import ranked, read_run, write_run
from fuzzing import mutated, tried_on

RUN = b"".join(b"q%d Q0 d%d %d %r tag\n" % (query, query + rank, rank, 9.5 / rank) for query in range(3) for rank in range(1, 6))


RUNS = (RUN, RUN.replace(b" ", b"\t"), gzip.compress(RUN, mtime=0))


@tried_on("runs", st.sampled_from(RUNS).flatmap(mutated), st.booleans())
def test_a_run_is_read_or_refused(folder: Path, data: bytes, packed: bool) -> None:
    (folder / "any.run").write_bytes(gzip.compress(data) if packed else data)
    run = read_run(folder / "any.run")
    for query, results in run.items():
        assert results and all(math.isfinite(score) for score in results.values()) and list(results) == list(ranked(results))
        for name in (query, *results):
            assert name.split() == [name] and "\ufeff" not in name
            assert not any(unicodedata.category(each) == "Cc" for each in name)
    write_run(folder / "again.run.gz", run)
    again = read_run(folder / "again.run.gz")
    assert again == run and list(again) == list(run)
