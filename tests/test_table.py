"""The time left of a sweep, against a plain simulation of its processes."""

from __future__ import annotations

import heapq

import pytest

from dognet.sweep.table import OVERHEAD, seconds_left, time_for


def simulated(lengths: list[float], processes: int, start: float) -> list[tuple[float, int]]:
    """When each run ends, in that order, where the next one begins as soon as a process is free."""
    free = [start] * processes
    ended = []
    for number, length in enumerate(lengths):
        ended.append((heapq.heappop(free) + length, number))
        heapq.heappush(free, ended[-1][0])
    return sorted(ended)


@pytest.mark.parametrize("processes", [1, 2, 5])
@pytest.mark.parametrize("reading", [0.0, 40.0])
def test_time_left_is_right_from_the_third_run_on(processes: int, reading: float) -> None:
    work = [100.0 + 10 * (k % 4) for k in range(24)]
    lengths = [OVERHEAD + 0.1 * amount + (reading if k < processes else 0) for k, amount in enumerate(work)]
    ended = simulated(lengths, processes, start=7.0)
    judged = 0
    for count in range(max(3, processes + 1), len(work)):
        ends = [7.0] * processes + [end for end, _ in ended[:count]]
        done, left = ([work[k] for _, k in part] for part in (ended[:count], ended[count:]))
        actual = ended[-1][0] - ends[-1]
        if actual > 2:  # seconds
            assert actual / 1.5 < seconds_left(ends, done, left, processes) < actual * 1.5
            judged += 1
    assert judged > 15


def test_time_left_on_a_cluster_is_that_of_all_nodes_together() -> None:
    work = [100.0] * 60
    ended = simulated([10.0] * 60, 6, start=0.0)
    ends = [0.0, *(end for end, _ in ended[:30])]
    assert seconds_left(ends, work[:30], work[30:], None) == pytest.approx(50, rel=0.05)


def test_time_for_runs_of_another_length_keeps_apart_what_does_not_grow() -> None:
    assert time_for([3000, 0], [OVERHEAD + 1, OVERHEAD + 2], [1000, 2000]) == pytest.approx(2 * OVERHEAD + 3)
    assert time_for([3000], [0.01], [0]) != time_for([3000], [0.01], [0])  # a run of no iterations tells nothing
