"""Kubernetes as a place that runs jobs: RayJobs of KubeRay behind the verbs that every target has."""

import hashlib
from collections.abc import Iterator
from typing import Any

from configs.errors import ClusterError
from configs.kubernetes import KubernetesSpec
from deploy.manifests.names import MAX_NAME, object_name
from deploy.manifests.rayjob import render_job
from orchestrator.submit.kuberay import KubeRay
from orchestrator.submit.rayjobs import condition, time_of
from orchestrator.submit.target import RUN_PAGE, TERMINAL, JobStatus, State, Submission

Manifest = dict[str, Any]


class KubeRayTarget:
    """A namespace that runs jobs; implements `Target`. An id is the name of a RayJob."""

    def __init__(self, spec: KubernetesSpec) -> None:
        """Read the kubeconfig file; nothing is sent yet. Raises ClusterError when there is none to use."""
        self._spec = spec
        self._kuberay = KubeRay(spec)
        self._seen: dict[str, State] = {}
        self._pages: dict[str, str] = {}

    def submit(self, job: Submission) -> str:
        """Create the RayJob and return its name, which is the id as KubeRay takes it.

        Raises SpecError for what pods could not do, before anything is sent, and ClusterError.
        """
        spec = job.spec.model_copy(update={"kubernetes": self._spec})
        rendered = render_job(spec, job.files, name=rayjob_name(job.id))
        self._kuberay.require_ready()
        return self._kuberay.create(rendered)

    def jobs(self) -> list[JobStatus]:
        """Every RayJob of Ringmaster in the namespace, the newest first."""
        found = [self._status(rayjob) for rayjob in self._kuberay.rayjobs()]
        return sorted(found, key=lambda one: (str(one.submitted), one.id), reverse=True)

    def status(self, id: str) -> JobStatus:
        """How one job stands. A job that was deleted is STOPPED where we did it, and a ClusterError otherwise."""
        rayjob = self._kuberay.find(id)
        if rayjob is not None:
            return self._status(rayjob)
        stopped, text = self._kuberay.absence(id, self._seen.get(id))
        if not stopped:
            raise ClusterError(text)
        return JobStatus(id, "STOPPED", text, mlflow_url=self._pages.get(id))

    def ended(self, id: str) -> bool:
        """Whether nothing will change any more. It asks as `status` does, which a job deleted later is told from."""
        return self.status(id).ended

    def logs(self, id: str, follow: bool) -> Iterator[str]:
        """Yield the lines that the job has printed; with `follow` also those to come, until the job ends."""
        return self._kuberay.log_lines(id, follow=follow)

    def stop(self, id: str) -> str:
        """End a job in order, so that it can close its MLflow run; return what was done, in words."""
        return self._kuberay.stop(id)

    def _status(self, rayjob: Manifest) -> JobStatus:
        name = rayjob["metadata"]["name"]
        stands = condition(rayjob)
        if stands.state != "SUCCEEDED":  # nothing to explain
            stands = self._kuberay.condition(rayjob)
        self._seen[name] = stands.state
        created = rayjob["metadata"].get("creationTimestamp")
        return JobStatus(
            name,
            stands.state,
            stands.reason,
            submitted=time_of(created) if created else None,
            mlflow_url=self._page(name, stands.state),
            exit_code=stands.exit_code,
        )

    def _page(self, name: str, state: State) -> str | None:
        """The page of the job's MLflow run: only the job knows it, so it is read from what it printed first."""
        started = state == "RUNNING" or state in TERMINAL
        if name not in self._pages and started and (found := RUN_PAGE.search(self._kuberay.first_output(name))):
            self._pages[name] = found[0]
        return self._pages.get(name)


def rayjob_name(id: str) -> str:
    """The id as KubeRay takes it: "My_Job-1" -> "my-job-1". One that is too long ends in a digest of it."""
    if len(id) <= MAX_NAME:
        return object_name(id)
    return object_name(id, hashlib.sha256(id.encode()).hexdigest()[:8])
