"""Which failures are worth a restart, and the one line that a failure becomes. No cluster is started."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.train import FailureConfig
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from configs.errors import ClusterError, LostRankError, RingmasterError, SpecError, TrainingError
from orchestrator import engine
from orchestrator.engine import LostWorkersPolicy, explain, last_words, own_exception

WORKERS = {rank: {"rank": rank, "host": f"node{rank}", "pid": 100 + rank} for rank in range(2)}
DEAD = RayActorError(error_msg="The actor died.")
LEFT = LostRankError("rank 0: the ring broke")


def failed(failures: dict[int, Exception]) -> WorkerGroupError:
    return WorkerGroupError("see below", failures)


@pytest.mark.parametrize(
    ("failures", "decision"),
    [
        ({0: ValueError("x")}, FailureDecision.RAISE),
        ({1: SpecError("x")}, FailureDecision.RAISE),
        ({0: LEFT, 1: ValueError("x")}, FailureDecision.RAISE),
        ({1: ValueError("Horovod has been shut down")}, FailureDecision.RAISE),
        ({1: DEAD}, FailureDecision.RETRY),
        ({0: LEFT, 1: DEAD}, FailureDecision.RETRY),
        ({0: LEFT, 1: LEFT}, FailureDecision.RETRY),
    ],
    ids=["own", "spec", "own and follower", "own words of a collective", "dead", "dead and follower", "followers"],
)
def test_only_lost_workers_are_worth_a_restart(failures: dict[int, Exception], decision: FailureDecision) -> None:
    policy = LostWorkersPolicy(FailureConfig(max_failures=1, controller_failure_limit=0))
    assert policy.make_decision(failed(failures)) == decision


def test_restarts_are_counted() -> None:
    policy = LostWorkersPolicy(FailureConfig(max_failures=2, controller_failure_limit=0))
    decisions = [policy.make_decision(failed({0: DEAD})) for _ in range(3)]
    assert decisions == [FailureDecision.RETRY, FailureDecision.RETRY, FailureDecision.RAISE]


def test_the_first_rank_that_raised_on_its_own_account() -> None:
    first, second = ValueError("1"), ValueError("2")
    assert own_exception(failed({3: second, 0: LEFT, 2: first})) == (2, first)
    assert own_exception(failed({0: LEFT, 1: DEAD})) is None


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            failed({1: ValueError("no\nsuch  column")}),
            TrainingError,
            "rank 1 on host node1 raised ValueError: no such column",
        ),
        (failed({7: KeyError("x")}), TrainingError, "rank 7 raised KeyError: 'x'"),
        (failed({0: LEFT, 1: SpecError("model.function m:f is wrong")}), SpecError, "model.function m:f is wrong"),
        (failed({0: LEFT, 1: DEAD}), TrainingError, "rank 1 on host node1 died: The actor died."),
        (failed({5: DEAD}), TrainingError, "rank 5 died: The actor died."),
        (failed({0: LEFT}), TrainingError, "rank 0: the ring broke"),
        (ControllerError(ClusterError("too small")), ClusterError, "too small"),
        (ControllerError(TimeoutError("no\nplace")), TrainingError, "the workers could not be started: no place"),
        (TrainingFailedError("a\nb"), TrainingError, "a b"),
    ],
)
def test_a_failure_is_one_line(error: TrainingFailedError, kind: type[RingmasterError], text: str) -> None:
    explained = explain(error, WORKERS)
    assert (type(explained), str(explained)) == (kind, text)


def test_a_long_message_is_cut() -> None:
    assert (
        str(explain(failed({0: ValueError("x" * 900)}), {}))
        == f"rank 0 raised ValueError: {'x' * 400} ... {'x' * 400}"
    )


def test_a_dead_worker_speaks_through_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = {101: "loading\nterminate called\n  what(): out of memory\nAborted\n"}
    monkeypatch.setattr(engine, "worker_log", lambda pid: logs[pid])
    assert str(explain(failed({1: DEAD}), WORKERS)) == "rank 1 on host node1 died: what(): out of memory"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\ntwo\n", "two"),
        ("[gloo] connection closed\nbye\n", "[gloo] connection closed"),
        ("MemoryError: 1\nMemoryError: 2\nbye\n", "MemoryError: 2"),
        ("x" * 500, "x" * 400),
    ],
)
def test_last_words(log: str, words: str) -> None:
    assert last_words(log) == words


def test_the_trainer_is_told_what_the_spec_says(small_job: Any) -> None:
    spec = small_job("cluster.cpus_per_worker=2", "train.max_restarts=5", "train.monitor=val_accuracy")
    job: Any = SimpleNamespace(spec=spec, feed=None)
    trainer = engine._trainer(spec, job, name="run")
    assert (trainer.scaling_config.num_workers, trainer.scaling_config.use_gpu) == (2, False)
    assert trainer.scaling_config.resources_per_worker == {"CPU": 2, "GPU": 0}
    assert trainer.run_config.failure_config.max_failures == 5
    kept = trainer.run_config.checkpoint_config
    assert (kept.num_to_keep, kept.checkpoint_score_attribute, kept.checkpoint_score_order) == (
        2,
        "val_accuracy",
        "max",
    )
    assert trainer.run_config.storage_path == str(spec.folder.absolute() / "checkpoints")
    assert trainer.backend_config.threads_per_worker == 2
