"""`TrackingSpec`: where the run is recorded and under which name the model is registered."""

from pydantic import field_validator

from configs.names import RegisteredName
from configs.secrets import SECRET_VALUES
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

    @field_validator("uri")
    @classmethod
    def _no_password(cls, uri: str | None) -> str | None:
        if uri is not None and SECRET_VALUES["a password in a URI"].search(uri):
            raise ValueError(
                "tracking.uri holds a password, which would be recorded with the run. Leave it out there: set "
                "MLFLOW_TRACKING_USERNAME and _PASSWORD for a server, or MLFLOW_TRACKING_URI to the whole "
                "URI of a database"
            )
        return uri
