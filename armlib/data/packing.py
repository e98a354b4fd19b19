"""Groups of examples packed into batches in a given order, at most one example of a query in a batch, each example once.

Think of a batch of B as B seats, and of a group, the examples of one query that belong together, as a guest who takes one seat in
as many consecutive batches as it has examples. Groups sit down in their order, each on the first seat that is free, so that a
batch is made of groups that are near each other in the order. Three rules make that exact:

- A group waits while its query sits elsewhere, and is the next to sit down when that seat is free.
- A query with as many examples left as there are batches left must be in all of them. It sits down at once, if need be in place
  of the query that has the fewest examples left, which goes on later.
- What fills no batch is cut off the end of the order before all that.

If no query has more examples than there are batches, this always works out: with R batches to go there are R B examples left, and
no query has more than R of them, so at least B queries have some, and at most B of them have R. It is the argument by which
preemptive jobs fit on B machines (McNaughton, 1959), with queries for jobs.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Integer


class Packing(NamedTuple):
    """Who sits where: S stays of groups, sorted by seat, then by batch. The seats of every batch are all taken.

    Attributes:
        starts: (S,) seat * batches + first batch of each stay, which ends where the next one starts.
        groups: (S,) the group, by its place in the order.
        done: (S,) how many of its examples the group has used before.
        batches: how many there are.
        size: B, seats of a batch.
    """

    starts: Int[np.ndarray, " S"]
    groups: Int[np.ndarray, " S"]
    done: Int[np.ndarray, " S"]
    batches: int
    size: int

    def batch(self, number: int) -> tuple[Int[np.ndarray, " B"], Int[np.ndarray, " B"]]:
        """The group on each seat of a batch, and the number of its example, counted from 0."""
        wanted = np.arange(self.size) * self.batches + number
        stays = np.searchsorted(self.starts, wanted, side="right") - 1
        return self.groups[stays], self.done[stays] + wanted - self.starts[stays]


def packed(queries: Integer[np.ndarray, " G"], counts: Integer[np.ndarray, " G"], size: int) -> Packing:
    """Pack groups into batches; time and memory grow with the groups, not with their examples.

    500,000 groups take 8 s and 0.2 GB (one core at 2.5 GHz), and what is kept of them 8 MB.

    Args:
        queries: the query of each group, in the order in which they are to be packed; whole numbers from 0.
        counts: how many examples each group has, at least 1. No query has more than there are batches, ``counts.sum() // size``.
        size: B.
    """
    batches = int(counts.sum()) // size
    kept = np.diff(np.minimum(np.cumsum(counts), batches * size), prepend=0)
    queries = np.asarray(queries)[: int(np.count_nonzero(kept))]
    return _Seating(queries, kept[: len(queries)], batches, size).run()


class _Seating:
    """Who sits where while groups are packed, one batch after the other; from one change to the next, all stay where they are."""

    def __init__(self, queries: np.ndarray, counts: np.ndarray, batches: int, size: int) -> None:
        self.batches, self.size = batches, size
        self.order, self.counts, self.left = queries.tolist(), counts.tolist(), counts.tolist()  # of groups
        due = np.bincount(queries, weights=counts).astype(np.int64)
        self.due = due.tolist()  # of queries: how many examples are left; what is left is brought up to date when a seat is left
        # Groups by query, in their order; ``first`` is the place there of each query's first group that is not finished.
        self.by_query = np.argsort(queries, kind="stable")
        self.first = np.searchsorted(queries[self.by_query], np.arange(len(due))).tolist()
        self.by_query = self.by_query.tolist()
        some = np.flatnonzero(due)
        # The batch in which a query that has no seat must have one; a sorted list is a heap.
        self.deadlines = sorted(zip((batches - due[some]).tolist(), some.tolist(), strict=True))
        self.turn, self.again, self.owed = 0, deque[int](), Counter[int]()
        self.free, self.seats = list(range(size)), dict[int, int]()  # empty seats; the seat of each query that has one
        self.taken = [(0, 0, 0)] * size  # group, first batch and end of the stay on each seat
        self.ends: list[tuple[int, int]] = []  # end and seat of each stay, and of those that were interrupted
        self.stays: list[tuple[int, int, int]] = []

    def run(self) -> Packing:
        now = 0
        while now < self.batches:
            while self.ends and self.ends[0][0] == now:
                seat = heapq.heappop(self.ends)[1]
                if self.taken[seat][2] == now:
                    self._finish(seat, now)
            while self.deadlines and self.deadlines[0][0] <= now:
                query = heapq.heappop(self.deadlines)[1]
                if query not in self.seats and self.due[query] == self.batches - now:
                    if not self.free:
                        self._interrupt(now)
                    self._sit_down(query, now)
            while self.free:
                query = self._next()
                if query in self.seats:
                    self.owed[query] += 1
                elif self.due[query]:
                    self._sit_down(query, now)
            now = min(self.ends[0][0], self.deadlines[0][0] if self.deadlines else self.batches)
        starts, groups, done = np.array(sorted(self.stays), np.int64).reshape(-1, 3).T
        return Packing(starts.copy(), groups.astype(np.int32), done.astype(np.int32), self.batches, self.size)

    def _next(self) -> int:
        """The query whose turn it is."""
        if self.again:
            return self.again.popleft()
        self.turn += 1
        return self.order[self.turn - 1]

    def _sit_down(self, query: int, now: int) -> None:
        seat, group = self.free.pop(), self.by_query[self.first[query]]
        end = now + self.left[group]
        self.seats[query], self.taken[seat] = seat, (group, now, end)
        heapq.heappush(self.ends, (end, seat))
        self.stays.append((seat * self.batches + now, group, self.counts[group] - self.left[group]))

    def _stand_up(self, seat: int, now: int) -> int:
        """Leave a seat; gives the query."""
        group, since, _ = self.taken[seat]
        query = self.order[group]
        self.left[group] -= now - since
        self.due[query] -= now - since
        self.taken[seat] = (0, 0, 0)
        self.free.append(seat)
        del self.seats[query]
        if self.due[query]:
            heapq.heappush(self.deadlines, (self.batches - self.due[query], query))
        return query

    def _finish(self, seat: int, now: int) -> None:
        query = self._stand_up(seat, now)
        self.first[query] += 1
        if self.owed[query]:
            self.owed[query] -= 1
            self.again.append(query)

    def _interrupt(self, now: int) -> None:
        """Free the seat of the query that has the fewest examples left, which is none that must sit in all batches to come."""

        def left(query: int) -> int:
            return self.due[query] - (now - self.taken[self.seats[query]][1])

        self.again.append(self._stand_up(self.seats[min(self.seats, key=left)], now))
