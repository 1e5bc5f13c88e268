"""Training on N ranks equals training in one process, layer by layer."""

import pytest


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_every_layer_trains_as_in_one_process(ring, ranks):
    for zoo in ring("cases_zoo.py", ranks).values("case_zoo"):
        assert len(zoo) == 7
        for model, optimizers in zoo.items():
            assert optimizers.keys() == {"sgd", "adam", "clipped"}
            for optimizer, (difference, change) in optimizers.items():
                assert difference < 1e-5, (model, optimizer)
                assert change > 1e-3, (model, optimizer)
