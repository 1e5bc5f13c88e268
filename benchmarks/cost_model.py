"""The time of a data-parallel step as a formula: ring, overlap with the backward pass, stragglers.

Pure arithmetic, fitted on measured reductions. Knows nothing about Horovod's fusion and
negotiation beyond one latency per hop.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Link:
    """One hop of the ring: seconds per message, and bytes per second of one direction."""

    latency_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Work:
    """What one rank does in a step."""

    compute_s: float
    gradient_bytes: float
    overlap: float = 0.0
    """The part of the compute (0 to 1) behind which a reduction can hide."""
    jitter: float = 0.0
    """Standard deviation of the compute time between ranks, as a part of it."""


def allreduce_s(ranks: int, size: float, link: Link) -> float:
    """Return the seconds of a ring allreduce: 2 (n - 1) messages of size / n bytes, one by one."""
    hops = 2 * (ranks - 1)
    return hops * (link.latency_s + size / ranks / link.bytes_per_s)


def step_s(ranks: int, work: Work, link: Link) -> float:
    """Return the seconds of a step of `ranks` ranks, which all wait for the slowest."""
    slowest = work.compute_s * (1 + work.jitter * expected_maximum(ranks))
    hidden = work.overlap * work.compute_s
    return slowest + max(0.0, allreduce_s(ranks, work.gradient_bytes, link) - hidden)


def efficiency(ranks: int, work: Work, link: Link) -> float:
    """Return the speed of `ranks` ranks over `ranks` times that of one."""
    return work.compute_s / step_s(ranks, work, link)


def expected_maximum(ranks: int) -> float:
    """Return the expected maximum of `ranks` standard normal values (Blom's approximation)."""
    if ranks < 2:
        return 0.0
    p = (ranks - 0.375) / (ranks + 0.25)
    # Inverse of the normal distribution by bisection: exact enough, and no library for one line.
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * (1 + math.erf(middle / math.sqrt(2))) < p else (low, middle)
    return low


def fit_link(measured: Sequence[tuple[int, float, float]]) -> Link:
    """Return the link that explains (ranks, bytes, seconds) best, in relative least squares."""
    rows = np.array([[2 * (n - 1), 2 * (n - 1) / n * size] for n, size, _ in measured], dtype=float)
    seconds = np.array([spent for _, _, spent in measured])
    weighted = rows / seconds[:, None]
    scale = weighted.max(axis=0)
    solution, *_ = np.linalg.lstsq(weighted / scale, np.ones(len(seconds)), rcond=None)
    latency_s, s_per_byte = solution / scale
    return Link(max(latency_s, 0.0), 1 / max(s_per_byte, 1e-15))
