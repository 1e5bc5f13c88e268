"""The errors a user can cause or fix; each message says what arrived, what was expected, what to do.

The command line prints them as one line and exits 1. Any other exception is a bug of ours and keeps its
traceback.
"""

import re


class RingmasterError(Exception):
    """Root of every error that is meant for the user."""


class SpecError(RingmasterError):
    """The YAML file, or what it names (a model function, a recipe), is wrong."""


class DataError(RingmasterError):
    """The data cannot be used; names file, row and column where they are known."""


class ClusterError(RingmasterError):
    """The Ray cluster cannot be reached or cannot hold the job."""

    exit_code = 1


class Unreachable(ClusterError):
    """A server does not answer now; it may in a minute, and what runs behind it may run on."""


class TrainingError(RingmasterError):
    """Training failed; names rank, host and the real cause."""


class LostRankError(TrainingError):
    """This rank did nothing wrong: another one is gone, and with it the ring. Worth a restart."""


class TrackingError(RingmasterError):
    """The MLflow server or registry cannot be used."""


class DeployError(RingmasterError):
    """A registered model cannot be loaded or served."""


COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Keras writes bold names into some messages."""


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks; of a long one its two ends, as the cause often comes last."""
    text = " ".join(COLOURS.sub("", str(error)).split())
    return text if len(text) <= 800 else f"{text[:400]} ... {text[-400:]}"
