"""A registered model as a RayService of KubeRay v1.7: the same Serve application as on a laptop.

Another version of the model changes nothing but `user_config` in the Serve configuration. KubeRay then leaves the Ray
cluster as it is and Serve swaps the model in place; anything else in the cluster's part makes a new cluster.
"""

import hashlib
import json
import math
from dataclasses import dataclass

from configs.kubernetes import KubernetesSpec
from configs.serve import ServeSpec
from deploy.manifests.checks import require_sound
from deploy.manifests.jobfiles import dump
from deploy.manifests.names import ID_LABEL, image, labels
from deploy.manifests.pods import Group, Manifest, head_template, mlflow_environment, worker_template
from deploy.manifests.rayjob import ray_cluster

APPLICATION = "deploy.app:application"
SERVE_GROUP = "replicas"
CLUSTER_DIGEST = "ringmaster/cluster-digest"
"""Annotation that tells whether the cluster's part changed: the API server adds defaults to what it was given."""


@dataclass(frozen=True)
class RenderedService:
    """The objects of one service, in the order in which they are created."""

    service: Manifest
    budget: Manifest

    @property
    def documents(self) -> list[Manifest]:
        return [self.service, self.budget]


def render_service(
    serve: ServeSpec, kubernetes: KubernetesSpec, *, name: str, model: str, version: int
) -> RenderedService:
    """Return the objects that serve version `version` of the registered model `model`; name: of the RayService."""
    pods = kubernetes.serve
    autoscaled = pods.min_replicas < pods.max_replicas
    marks = labels(model, name, "serving")
    group = Group(
        kubernetes=kubernetes,
        image=image(kubernetes.serve_image, "serve"),
        labels=marks,
        environment=(
            mlflow_environment(kubernetes.mlflow_uri),
            *({"name": key, "value": value} for key, value in kubernetes.env.items()),
        ),
    )
    workers = {
        "groupName": SERVE_GROUP,
        "replicas": pods.min_replicas,
        "minReplicas": pods.min_replicas,
        "maxReplicas": pods.max_replicas,
        "rayStartParams": {"num-cpus": str(math.ceil(serve.cpus_per_replica))},
        "template": worker_template(group, pods.pod, cpus=serve.cpus_per_replica, serving=True),
    }
    cluster = ray_cluster(
        kubernetes,
        head=head_template(group, serving=True, autoscaled=autoscaled),
        workers=workers,
        autoscaled=autoscaled,
    )
    metadata: Manifest = {"name": name, "namespace": kubernetes.namespace, "labels": marks}
    digest = hashlib.sha256(json.dumps(cluster, sort_keys=True).encode()).hexdigest()
    service = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": metadata | {"annotations": {CLUSTER_DIGEST: digest[:16]}},
        "spec": {
            "serveConfigV2": serve_config(serve, kubernetes, model=model, version=version),
            "upgradeStrategy": {"type": "NewCluster"},
            "rayClusterConfig": cluster,
        },
    }
    require_sound(service)
    return RenderedService(service, _budget(metadata, pods.min_replicas))


def serve_config(serve: ServeSpec, kubernetes: KubernetesSpec, *, model: str, version: int) -> str:
    """Ray Serve's configuration file, as text."""
    pods = kubernetes.serve
    replicas: Manifest = {"num_replicas": pods.min_replicas}
    if pods.min_replicas < pods.max_replicas:
        replicas = {
            "autoscaling_config": {
                "min_replicas": pods.min_replicas,
                "max_replicas": pods.max_replicas,
                "target_ongoing_requests": pods.target_requests,
            }
        }
    chosen = {"name": model, "version": version, "tracking_uri": kubernetes.mlflow_uri}
    deployment = {
        "name": "ModelEndpoint",
        **replicas,
        "ray_actor_options": {"num_cpus": serve.cpus_per_replica},
        "user_config": {"model": chosen, "max_rows": serve.max_rows},
    }
    application = {
        "name": model,
        "route_prefix": "/",
        "import_path": APPLICATION,
        "deployments": [deployment],
    }
    return dump(
        {
            "proxy_location": "EveryNode",
            "http_options": {"host": "0.0.0.0", "port": 8000},  # noqa: S104 (inside the pod)
            "applications": [application],
        }
    )


def _budget(metadata: Manifest, min_replicas: int) -> Manifest:
    """At its smallest size the service loses one pod at a time, head or replica, when nodes are drained."""
    selector = {"matchLabels": {ID_LABEL: metadata["labels"][ID_LABEL]}}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        # A number of pods: a RayCluster has no scale subresource from which maxUnavailable could be worked out.
        "spec": {"minAvailable": min_replicas, "selector": selector},
    }
