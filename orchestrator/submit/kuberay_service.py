"""A registered model behind a RayService: found in MLflow from here, fetched by the pods themselves."""

from dataclasses import dataclass
from pathlib import Path

from configs.errors import DeployError
from configs.kubernetes import KubernetesSpec
from configs.serve import ServeSpec
from deploy.manifests.names import object_name
from deploy.manifests.rayservice import RenderedService, render_service
from deploy.models import find_version
from orchestrator.submit.kuberay import KubeRay
from orchestrator.tracking import connect_existing


@dataclass(frozen=True)
class Deployed:
    """A model that a RayService serves, as soon as its pods are up."""

    name: str
    """Of the RayService."""
    namespace: str
    model: str
    version: int
    change: str
    """What the cluster had to do, in words."""

    @property
    def service(self) -> str:
        """The Kubernetes service that KubeRay makes; on an upgrade it moves to the new cluster."""
        return f"{self.name}-serve-svc"

    @property
    def url(self) -> str:
        """Where it answers inside the cluster."""
        return f"http://{self.service}.{self.namespace}:8000"


def deploy_service(
    reference: str, serve: ServeSpec, kubernetes: KubernetesSpec, *, folder: Path, uri: str | None
) -> Deployed:
    """Serve a registered model on Kubernetes, or give its service another version.

    uri: the MLflow server as seen from here; the pods use kubernetes.mlflow_uri.
    Raises DeployError, TrackingError, SpecError, ClusterError.
    """
    store = connect_existing(uri, folder)
    if not store.startswith(("http://", "https://")):
        raise DeployError(
            f"the model registry is {store}, a file that pods cannot read; name the MLflow server of the cluster with "
            "--tracking-uri or MLFLOW_TRACKING_URI"
        )
    model = find_version(reference, store)
    rendered = render(serve, kubernetes, model=model.name, version=model.version)
    kuberay = KubeRay(kubernetes)
    kuberay.require_ready()
    change = kuberay.apply(rendered)
    name = rendered.service["metadata"]["name"]
    return Deployed(name, kubernetes.namespace, model.name, model.version, change)


def render(serve: ServeSpec, kubernetes: KubernetesSpec, *, model: str, version: int) -> RenderedService:
    """The service of a model; one name for all its versions, so that a new one replaces the old one."""
    return render_service(serve, kubernetes, name=object_name(model), model=model, version=version)
