"""Before the first epoch: whether the model can be registered, loaded elsewhere and replayed.

Rank 0 writes the untrained model as it will be registered, and asks a process that has none of the job's files; all
ranks learn the answer.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from configs.errors import SpecError
from configs.gate import Gate
from configs.outputs import compiled, rounding
from configs.registered import Golden, ModelCode
from trainers import checkpoint, hvd
from trainers.custom_code import model_code
from trainers.job import WorkerJob


@contextmanager
def asked(model: keras.Model, job: WorkerJob, gate: Gate | None) -> Iterator[Callable[[], ModelCode]]:
    """Ask the gate, if there is one; yields a function that waits for the answer, a collective.

    The function returns the model's code and raises SpecError on every rank when the model cannot be served.
    """
    code, problem = ModelCode(), None
    with tempfile.TemporaryDirectory(prefix="ringmaster-untrained-") as folder:
        try:
            code = ModelCode() if job.verifying else model_code(checkpoint.served(model), job.import_paths)
            if gate is not None:
                checkpoint.save_model(model, Path(folder))
                job.documents.write(Path(folder), golden_outputs(model, job), code)
                gate.ask(Path(folder))
        except (SpecError, ValueError) as error:
            problem, gate = str(error), None

        def answer() -> ModelCode:
            told = problem or (gate.problem() if gate is not None else None)
            told = hvd.broadcast_json(told)
            if told is not None:
                raise SpecError(f"model.function {job.spec.model.function}: {told.replace(folder, 'the saved model')}")
            return code

        yield answer


def golden_outputs(model: keras.Model, job: WorkerJob) -> Golden:
    """The outputs for the golden rows, as an endpoint would compute them. Raises ValueError for what cannot be
    replayed: outputs that are random, not numbers, or not one tensor.
    """
    call = compiled(model)
    outputs, again = (call(job.golden.inputs) for _ in range(2))
    bad = np.flatnonzero(np.isnan(outputs).any(axis=1))
    if bad.size:
        raise ValueError(
            f"the model's outputs are nan for {bad.size} of {len(outputs)} rows of the data; look for a division, "
            "logarithm or root of 0 or less in it"
        )
    coarsest = rounding(model)
    if not np.allclose(outputs, again, rtol=max(1e-4, 4 * coarsest), atol=1e-4):
        raise ValueError(
            "the model gives other outputs every time it is called with the same rows; let its layers draw random "
            "numbers only where `training` is true"
        )
    return Golden(outputs, coarsest)
