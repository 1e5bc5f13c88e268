"""What is left to train after an interruption."""

import pytest

from trainers.checkpoint import Progress
from trainers.loop import Position, Span, spans


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (Progress(0, {}), [Span(Position(0, 0), 3)]),
        (Progress(2, {}), [Span(Position(2, 0), 3)]),
        (Progress(3, {}), []),
        (Progress(0, {}, step=5), [Span(Position(0, 5), 1), Span(Position(1, 0), 3)]),
        (Progress(2, {}, step=5), [Span(Position(2, 5), 3)]),
    ],
)
def test_a_begun_epoch_is_finished_first(done: Progress, expected: list[Span]) -> None:
    assert spans(done, 3) == expected
