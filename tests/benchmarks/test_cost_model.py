"""The cost model's arithmetic, and that it finds again the link it was given."""

import numpy as np
import pytest

from benchmarks.cost_model import (
    Link,
    Work,
    allreduce_s,
    efficiency,
    expected_maximum,
    fit_link,
    step_s,
)
from benchmarks.simulate import by_speed, held_out_error


def test_ring_sends_each_byte_twice_less_one_share():
    link = Link(latency_s=0.001, bytes_per_s=1e6)
    assert allreduce_s(2, 1e6, link) == pytest.approx(2 * (0.001 + 0.5))
    assert allreduce_s(4, 1e6, link) == pytest.approx(6 * (0.001 + 0.25))
    assert allreduce_s(1, 1e6, link) == 0


def test_overlap_hides_at_most_the_reduction():
    link = Link(0.0, 1e6)
    assert step_s(2, Work(1.0, 1e6, overlap=0.25), link) == pytest.approx(1.75)
    assert efficiency(2, Work(10.0, 1e6, overlap=1.0), link) == 1.0


def test_slowest_of_many_is_the_expected_maximum():
    draws = np.random.default_rng(0).normal(size=(20000, 16)).max(axis=1).mean()
    assert expected_maximum(16) == pytest.approx(draws, rel=0.02)
    assert expected_maximum(1) == 0


def test_fit_finds_the_link():
    link = Link(0.0004, 1.1e9)
    measured = [(n, size, allreduce_s(n, size, link)) for n in (2, 3, 4) for size in (1e5, 1e7, 1e8)]
    found = fit_link(measured)
    assert found.latency_s == pytest.approx(link.latency_s, rel=1e-6)
    assert found.bytes_per_s == pytest.approx(link.bytes_per_s, rel=1e-6)


def test_a_link_that_the_model_explains_has_no_held_out_error():
    link = Link(0.0004, 1.1e8)
    measured = [(n, size, allreduce_s(n, size, link)) for n in (2, 3, 4) for size in (1e4, 1e5, 1e6)]
    assert held_out_error(measured) == pytest.approx(0, abs=1e-9)
    slower_with_three = [(n, size, s * (2 if n == 3 else 1)) for n, size, s in measured]
    assert held_out_error(slower_with_three) > 0.2


def test_measured_lines_are_sorted_by_speed():
    sizes = [{"bytes": 1000, "ms": 2.0}]
    line = {"links": [{"mbit_per_s": mbit, "ranks": 2, "sizes": sizes} for mbit in (100, 1000)]}
    assert by_speed(line) == {1000: [(2, 1000, 0.002)], 100: [(2, 1000, 0.002)]}
