"""`SourceSpec`: where the rows of a job come from, and how they are read."""

from typing import Any, Literal

from pydantic import model_validator

from configs.names import ImportPath
from configs.spec import Spec, UserPath


class SourceSpec(Spec):
    """A file or a Python function that gives raw columns."""

    csv: UserPath | None = None
    """A CSV file with a header; a relative path is looked for in the working folder, then beside the YAML file."""
    function: ImportPath | None = None
    """`package.module:function` that returns the columns: a dict of arrays (rows first) or a pandas frame."""
    params: dict[str, Any] = {}
    """Keyword parameters of `function`."""
    bad_rows: Literal["raise", "skip"] = "raise"
    """What a row that cannot be read, or holds no usable value, does: end the job, or be left out and counted."""

    @model_validator(mode="after")
    def _one_source(self) -> "SourceSpec":
        if (self.csv is None) == (self.function is None):
            raise ValueError("give exactly one of csv and function")
        if self.params and self.function is None:
            raise ValueError("params goes with function; a csv takes none")
        return self
