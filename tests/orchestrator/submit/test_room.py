"""Whether the workers fit onto the nodes, and what is said when they do not."""

from types import SimpleNamespace

import pytest

from configs.cluster import ClusterSpec
from configs.errors import ClusterError
from orchestrator.submit.room import find_room, require_room


def nodes(*resources: dict[str, float]) -> list[SimpleNamespace]:
    return [SimpleNamespace(name=f"n{number}", resources=one) for number, one in enumerate(resources)]


@pytest.mark.parametrize(
    ("cluster", "there", "expected"),
    [
        (
            {"workers": 4},
            [{"CPU": 2.0}, {"CPU": 1.0}],
            "cluster.workers=4 with 1 CPU each do not fit: the cluster has 3 CPU on 2 node(s), 1 CPU too few; use "
            "cluster.workers=3, or add nodes",
        ),
        (
            {"workers": 3, "cpus_per_worker": 2},
            [{"CPU": 3.0}, {"CPU": 3.0}],
            "cluster.workers=3 with 2 CPU each do not fit: the cluster has 6 CPU on 2 node(s), in pieces that are too "
            "small (n0 holds 1, n1 holds 1); use cluster.workers=2, or add nodes",
        ),
        (
            {"workers": 2, "gpus_per_worker": 1},
            [{"CPU": 8.0}],
            "cluster.workers=2 with 1 CPU and 1 GPU each do not fit: the cluster has 8 CPU and 0 GPU on 1 node(s), "
            "2 GPU too few; ask for less per worker, or add nodes",
        ),
        (
            {"workers": 8, "min_workers": 4, "cpus_per_worker": 4, "gpus_per_worker": 1},
            [{"CPU": 8.0, "GPU": 8.0}],
            "cluster.min_workers=4 with 4 CPU and 1 GPU each do not fit: the cluster has 8 CPU and 8 GPU on 1 "
            "node(s), 8 CPU too few; use cluster.min_workers=2, or add nodes",
        ),
        (
            {"workers": 1},
            [],
            "cluster.workers=1 with 1 CPU each do not fit: the cluster has 0 CPU on 0 node(s), 1 CPU too few; ask for "
            "less per worker, or add nodes",
        ),
    ],
)
def test_a_cluster_that_is_too_small(cluster: dict, there: list[dict[str, float]], expected: str) -> None:
    with pytest.raises(ClusterError) as caught:
        require_room(ClusterSpec.model_validate(cluster), nodes(*there))
    assert str(caught.value) == expected


def test_a_cluster_that_is_just_large_enough() -> None:
    cluster = ClusterSpec(workers=3, cpus_per_worker=2, gpus_per_worker=1)
    room = find_room(cluster, nodes({"CPU": 0.0}, {"CPU": 5.0, "GPU": 2.0}, {"CPU": 2.0, "GPU": 4.0}))
    assert (room.workers, room.total, room.problem) == (3, {"CPU": 7.0, "GPU": 6.0}, None)
    require_room(ClusterSpec(workers=64, min_workers=2), nodes({"CPU": 2.0}))
