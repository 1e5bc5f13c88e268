"""What a reduction can be asked to do: the operations and compressions by name, checked once.

Plain values. Knows nothing about Horovod or TensorFlow, so the driver may check a job with it.
"""

import difflib
import enum
from dataclasses import dataclass
from typing import Any

from configs.errors import SpecError


class Op(enum.StrEnum):
    """How the values of the ranks become one value."""

    average = "average"
    sum = "sum"
    adasum = "adasum"
    min = "min"
    max = "max"
    product = "product"


class Compression(enum.StrEnum):
    """The number format in which gradients travel; they are summed, and come back, in their own
    format or float32.
    """

    none = "none"
    fp16 = "fp16"
    bf16 = "bf16"


Average, Sum, Adasum = Op.average, Op.sum, Op.adasum
Min, Max, Product = Op.min, Op.max, Op.product

GRADIENT_OPS = (Op.average, Op.sum, Op.adasum)


@dataclass(frozen=True, kw_only=True)
class ReductionSettings:
    """How gradients are reduced over the ranks; the keyword arguments of `DistributedOptimizer`,
    checked.

    Args:
        op: average, sum or adasum.
        compression: none, fp16 or bf16.
        backward_passes_per_step: gradients of this many steps are added up on each rank before one
            reduction.
        average_aggregated_gradients: divide that sum by `backward_passes_per_step`; as in Horovod it stays a sum
            unless this is said.
        sparse_as_dense: turn IndexedSlices (gradients of Embedding layers) into dense tensors
            before the reduction.
        gradient_predivide_factor: with average, gradients are divided by this before they are
            added up over ranks and the rest of the division happens after; keeps float16 sums in
            range.
        groups: how many buckets the dense gradients travel in (an int), or lists of variables that
            travel together; None or 0 puts all gradients of one dtype in one bucket.
        process_set: the ranks that reduce together; None means all of them.
        scale_local_gradients: divide the gradients of local variables, which stay on their rank, by the number of
            ranks.
    """

    op: Op | str = Op.average
    compression: Compression | str = Compression.none
    backward_passes_per_step: int = 1
    average_aggregated_gradients: bool = False
    sparse_as_dense: bool = False
    gradient_predivide_factor: float = 1.0
    groups: Any = None
    process_set: Any = None
    scale_local_gradients: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "op", choose(self.op, Op, "op", GRADIENT_OPS))
        object.__setattr__(self, "compression", choose(self.compression, Compression, "compression"))
        if self.backward_passes_per_step < 1 or int(self.backward_passes_per_step) != self.backward_passes_per_step:
            raise SpecError(
                f"backward_passes_per_step={self.backward_passes_per_step!r} is not a number of "
                "steps. "
                "Expected an integer of at least 1; leave it out to reduce every step."
            )
        if self.gradient_predivide_factor <= 0:
            raise SpecError(
                f"gradient_predivide_factor={self.gradient_predivide_factor!r} is not positive. "
                "Expected a factor such as 1.0 (off) or the number of ranks."
            )
        if self.gradient_predivide_factor != 1.0 and self.op != Op.average:
            raise SpecError(
                f"gradient_predivide_factor={self.gradient_predivide_factor!r} was given with "
                f"op={self.op}. "
                "It splits the division of an average; use op=average or leave it out."
            )
        if self.groups == 0:
            object.__setattr__(self, "groups", None)
        if isinstance(self.groups, int) and self.groups < 0:
            raise SpecError(
                f"groups={self.groups!r} is not a number of buckets. Expected an integer of at "
                "least 0, a list of "
                "lists of variables, or None for one bucket."
            )


def choose(value: Any, kind: type[enum.StrEnum], what: str, valid: tuple[Any, ...] | None = None) -> Any:
    """Return the member of `kind` that `value` names, or raise SpecError with the nearest valid
    name.
    """
    names = [member.value for member in valid or kind]
    if isinstance(value, str) and value.lower() in names:
        return kind(value.lower())
    near = difflib.get_close_matches(str(value).lower(), names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise SpecError(f"{what}={value!r} is unknown. Expected one of: {', '.join(names)}.{hint}")
