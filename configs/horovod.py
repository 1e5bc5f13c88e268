"""`HorovodSpec`: how gradients are reduced, Horovod's tuning knobs, and how the ranks are watched."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from configs.spec import Spec

WATCHING = ("op", "compression", "check_weights_every_steps", "step_timeout_s")


class HorovodSpec(Spec):
    """Horovod. A knob left out keeps Horovod's own default."""

    op: Literal["average", "adasum"] = "average"
    """How gradients of the ranks are joined. adasum does not give what one worker would compute."""
    compression: Literal["none", "fp16", "bf16"] = "none"
    """Type in which gradients travel."""
    check_weights_every_steps: PositiveInt = 200
    """The ranks compare a hash of their weights after step 1 and this often; a difference stops the job."""
    step_timeout_s: PositiveFloat = 600.0
    """A step in which a rank waits longer than this for the others ends the job with their names."""
    fusion_threshold_mb: PositiveFloat | None = None
    """Tensors are reduced together up to this size."""
    cycle_time_ms: PositiveFloat | None = Field(default=None, ge=0.01)
    """How often Horovod looks for tensors to reduce."""
    cache_capacity: NonNegativeInt | None = None
    """Tensors whose readiness is agreed on by a bit vector."""
    hierarchical_allreduce: bool | None = None
    """Reduce within hosts first, then between them (NCCL)."""
    autotune: bool = False
    """Try values of the knobs while training; the best ones are kept in the job's folder for its next run."""
    timeline: bool = False
    """Record a Chrome trace of every reduction and attach it to the MLflow run."""
    stall_warning_s: PositiveInt | None = None
    """Log which tensors wait for which ranks after this time."""

    @property
    def knobs(self) -> dict[str, object]:
        """The settings that travel as HOROVOD_* variables, by Ringmaster's names; unset ones left out."""
        values = self.model_dump(exclude={*WATCHING, "autotune", "timeline"}, exclude_none=True)
        return values | ({"autotune": True} if self.autotune else {})
