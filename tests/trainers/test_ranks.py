"""Which Horovod rank runs where: hand-written plans, and the laws that Horovod relies on."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.hvd.ranks import gloo_environment, plan_ranks


def numbers(hosts: list[str]) -> list[tuple[int, int, int, int, int]]:
    """(rank, local rank, local size, cross rank, cross size) of every rank."""
    return [
        (plan.rank, plan.local_rank, plan.local_size, plan.cross_rank, plan.cross_size) for plan in plan_ranks(hosts)
    ]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (["a"], [(0, 0, 1, 0, 1)]),
        (["a", "a", "a"], [(0, 0, 3, 0, 1), (1, 1, 3, 0, 1), (2, 2, 3, 0, 1)]),
        (["a", "b"], [(0, 0, 1, 0, 2), (1, 0, 1, 1, 2)]),
        (["a", "a", "b", "b"], [(0, 0, 2, 0, 2), (1, 1, 2, 0, 2), (2, 0, 2, 1, 2), (3, 1, 2, 1, 2)]),
        (["a", "b", "a", "b"], [(0, 0, 2, 0, 2), (1, 0, 2, 1, 2), (2, 1, 2, 0, 2), (3, 1, 2, 1, 2)]),
        (["a", "b", "b"], [(0, 0, 1, 0, 2), (1, 0, 2, 1, 2), (2, 1, 2, 0, 1)]),
        (["b", "a", "c", "a"], [(0, 0, 1, 0, 3), (1, 0, 2, 1, 3), (2, 0, 1, 2, 3), (3, 1, 2, 0, 1)]),
    ],
    ids=["one", "one host", "two hosts", "2x2", "interleaved", "uneven", "uneven and interleaved"],
)
def test_plans(hosts: list[str], expected: list[tuple[int, int, int, int, int]]) -> None:
    assert numbers(hosts) == expected
    assert [plan.host for plan in plan_ranks(hosts)] == hosts
    assert {plan.size for plan in plan_ranks(hosts)} == {len(hosts)}


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=20))
def test_laws(hosts: list[str]) -> None:
    plans = plan_ranks(hosts)
    assert [plan.rank for plan in plans] == list(range(len(hosts)))
    for host, count in Counter(hosts).items():
        here = [plan for plan in plans if plan.host == host]
        assert [plan.local_rank for plan in here] == list(range(count))
        assert {plan.local_size for plan in here} == {count}
    for local_rank in {plan.local_rank for plan in plans}:
        column = [plan for plan in plans if plan.local_rank == local_rank]
        assert sorted(plan.cross_rank for plan in column) == list(range(len(column)))
        assert {plan.cross_size for plan in column} == {len(column)}
    assert sum(1 for plan in plans if plan.local_rank == 0) == len(set(hosts))


def test_the_variables_of_a_plan() -> None:
    assert plan_ranks(["a", "b", "b"])[2].environment() == {
        "HOROVOD_RANK": "2",
        "HOROVOD_SIZE": "3",
        "HOROVOD_LOCAL_RANK": "1",
        "HOROVOD_LOCAL_SIZE": "2",
        "HOROVOD_CROSS_RANK": "0",
        "HOROVOD_CROSS_SIZE": "1",
        "HOROVOD_HOSTNAME": "b",
    }


def test_the_variables_that_lead_to_the_rendezvous() -> None:
    assert gloo_environment("10.0.0.1", 1234, "eth0") == {
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": "10.0.0.1",
        "HOROVOD_GLOO_RENDEZVOUS_PORT": "1234",
        "HOROVOD_GLOO_IFACE": "eth0",
    }
