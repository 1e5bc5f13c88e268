"""`TrackingSpec`: where the run is recorded and under which name the model is registered."""

from configs.names import RegisteredName
from configs.spec import Spec


class TrackingSpec(Spec):
    """MLflow."""

    uri: str | None = None
    """Tracking server or database; by default MLFLOW_TRACKING_URI, or else SQLite under the job's folder.
    Credentials go in MLFLOW_TRACKING_USERNAME and _PASSWORD, never here."""
    experiment: str = "ringmaster"
    registered_model: RegisteredName | None = None
    """Name in the model registry; by default the job's name."""
    alias: RegisteredName = "champion"
    """Moved to the version that this job registers."""
