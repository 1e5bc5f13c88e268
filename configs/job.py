"""`JobSpec`: the whole YAML file."""

from pathlib import Path

from pydantic import PrivateAttr, model_validator

from configs.cluster import ClusterSpec
from configs.data import DataSpec
from configs.horovod import HorovodSpec
from configs.kubernetes import KubernetesSpec
from configs.names import RegisteredName
from configs.serve import ServeSpec
from configs.spec import Spec, UserPath
from configs.tracking import TrackingSpec
from configs.train import ModelSpec, TrainSpec

MAXIMISED = ("accuracy", "auc", "precision", "recall", "f1_score", "r2_score", "cosine_similarity")


class JobSpec(Spec):
    """One training job, from rows to endpoint."""

    name: RegisteredName
    """Names the run and, unless tracking.registered_model says otherwise, the registered model."""
    data: DataSpec
    model: ModelSpec
    train: TrainSpec = TrainSpec()
    cluster: ClusterSpec = ClusterSpec()
    horovod: HorovodSpec = HorovodSpec()
    tracking: TrackingSpec = TrackingSpec()
    serve: ServeSpec = ServeSpec()
    kubernetes: KubernetesSpec | None = None
    """Used by `--to kuberay` only."""
    folder: UserPath = Path("ringmaster-runs")
    """Everything that a run writes goes here: database, artifacts, checkpoints, logs."""
    _home: Path = PrivateAttr(default=Path("."))

    @property
    def home(self) -> Path:
        """Folder of the YAML file, set by load_spec: relative data paths and `.py` files are found there."""
        return self._home

    @property
    def registered_model(self) -> str:
        return self.tracking.registered_model or self.name

    @property
    def validates(self) -> bool:
        """Whether rows are kept to choose the best epoch."""
        data = self.data
        return bool(data.split.valid or data.split.valid_from or data.valid_files)

    @property
    def monitor(self) -> str:
        """The metric that chooses the best epoch."""
        return self.train.monitor or ("val_loss" if self.validates else "loss")

    @property
    def mode(self) -> str:
        """`min` or `max`: which monitor value is best."""
        if self.train.mode:
            return self.train.mode
        return "max" if self.monitor.removeprefix("val_").endswith(MAXIMISED) else "min"

    @model_validator(mode="after")
    def _fit_together(self) -> "JobSpec":
        if self.cluster.gpus_per_worker > 1:
            raise ValueError(
                f"cluster.gpus_per_worker={self.cluster.gpus_per_worker}: a Horovod rank drives one GPU. "
                f"Use gpus_per_worker=1 and cluster.workers={self.cluster.workers * self.cluster.gpus_per_worker}"
            )
        if self.monitor.startswith("val_") and not self.validates:
            raise ValueError(
                f"train.monitor={self.monitor!r} needs validation rows, but data.split.valid is 0. "
                "Set data.split.valid=0.2 or monitor a training metric"
            )
        return self
