"""`Spec`: the frozen pydantic model that every section of the YAML file is built from."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator


def expand_home(path: Path) -> Path:
    """`~` is the home folder. Raises ValueError where there is none of that name."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}; write the path out") from error


UserPath = Annotated[Path, AfterValidator(expand_home)]
"""A path as a user writes it: `~` is the home folder, as in a shell."""


class Spec(BaseModel):
    """A section of the YAML file: frozen, unknown keys rejected with the nearest valid one."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )

    @model_validator(mode="before")
    @classmethod
    def _reject_what_pydantic_would_take(cls, value: Any) -> Any:
        for key, given in value.items() if isinstance(value, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(unknown("key", key, cls.model_fields))
            annotation = cls.model_fields[key].annotation
            # To Python `true` is the number 1; who writes `epochs: true` meant something else.
            if isinstance(given, bool) and {int, float} & {annotation, *get_args(annotation)}:
                raise ValueError(f"{key}={given}: expected a number")
        return value


def unknown(what: str, got: object, valid: Iterable[str]) -> str:
    """Return "unknown key 'epoch'; did you mean 'epochs'? Valid: ..." for an error message."""
    names = sorted(valid)
    near = difflib.get_close_matches(str(got), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {what} {got!r}{hint} Valid: {', '.join(names)}"
