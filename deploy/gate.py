"""Loads a registered folder and replays its golden batch, in a process that has nothing else of the job.

`configs.gate` starts it: arguments are the file for the verdict and the packages that a serving image has in addition;
the folder comes as one line of standard input, so that Keras can be imported while the model is still being built.
"""

import json
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from configs.errors import RingmasterError, one_line
from deploy.predictor import Predictor

SERVED = Path(__file__).parent / "images" / "serve.lock"
"""The packages of a serving image; the image itself does without the list."""
OURS = {"configs", "deploy", "ringmaster"}
FRAMEWORKS = {"keras", "tensorflow"}
"""Come as packages of other names, for CPUs and for GPUs."""


def served_packages(extra: list[str]) -> "set[str] | None":
    """The top-level names that can be imported where models are served; None where that is not known."""
    if not SERVED.is_file():
        return None
    listed = set(re.findall(r"^([a-z0-9.-]+)(?:\[[^]]*\])?==", SERVED.read_text(encoding="utf-8"), re.MULTILINE))
    names = packages_distributions()
    served = {name for name, owners in names.items() if any(_plain(owner) in listed for owner in owners)}
    return served | OURS | FRAMEWORKS | {name.partition(".")[0] for name in extra}


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def check(folder: Path, extra: list[str]) -> str | None:
    """Return why the folder cannot be served, in one line; None where it can."""
    try:
        served = served_packages(extra)
        Predictor.load(folder, allowed=lambda package: served is None or package in served)
    except RingmasterError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {one_line(error)}"
    return None


def main() -> None:
    """Wait for the folder; without one the parent has gone."""
    verdict, extra = Path(sys.argv[1]), json.loads(sys.argv[2])
    folder = sys.stdin.readline().strip()
    if folder:
        answer = json.dumps({"problem": check(Path(folder), extra)})
        verdict.with_suffix(".partial").write_text(answer, encoding="utf-8")
        verdict.with_suffix(".partial").replace(verdict)


if __name__ == "__main__":
    main()
