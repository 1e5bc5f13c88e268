"""Commands for Kubernetes: `render`, and what `deploy --to kuberay` does; options with one meaning in both."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from configs.errors import SpecError
from configs.job import JobSpec
from configs.kubernetes import KubernetesSpec
from configs.load import load_spec
from configs.serve import ServeSpec
from orchestrator import console
from orchestrator.command import Debug, Job, Json, Overrides, command, print_json

Namespace = Annotated[str | None, typer.Option(help="Namespace; by default kubernetes.namespace of the job.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig file; by default its current one.")]
Queue = Annotated[str | None, typer.Option(help="Queue that admits the job; by default kubernetes.queue.")]
ServeWhere = Annotated[
    Literal["local", "kuberay"], typer.Option("--to", help="Where it is served: on this machine, or on Kubernetes.")
]
ServiceJob = Annotated[
    str | None,
    typer.Option("--job", metavar="JOB.yaml", help="For --to kuberay: its serve and kubernetes sections say how."),
]


def placed(
    overrides: list[str] | None, *, namespace: str | None = None, context: str | None = None, queue: str | None = None
) -> list[str]:
    """The overrides of the YAML file, with those that are options."""
    options = {"namespace": namespace, "context": context, "queue": queue}
    given = [f"kubernetes.{key}={json.dumps(value)}" for key, value in options.items() if value is not None]
    return [*(overrides or []), *given]


@command("ringmaster render job.yaml --namespace team-a > job-on-kubernetes.yaml")
def render(  # noqa: PLR0913 (an option is a parameter)
    job: Job,
    overrides: Overrides = None,
    to: Annotated[Literal["kuberay"], typer.Option("--to", help="What to render for.")] = "kuberay",
    namespace: Namespace = None,
    queue: Queue = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder to write a file per object to, instead of standard output.")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print the Kubernetes objects of a job as YAML; no cluster is asked."""
    spec = load_spec(job, placed(overrides, namespace=namespace, queue=queue))
    from deploy.manifests.jobfiles import dump
    from deploy.manifests.names import object_name
    from deploy.manifests.rayjob import render_job
    from orchestrator.submit.code import job_code

    documents = render_job(spec, job_code(spec), name=object_name(spec.name)).documents
    if output is not None:
        documents_in(output, {f"{one['kind'].lower()}.yaml": dump(one) for one in documents}, as_json=as_json)
    elif as_json:
        print_json({"documents": documents})
    else:
        # Not `print`: it would expand the tabs of the job's own files.
        console.out.file.write("---\n".join(dump(one) for one in documents))


def objects_of(spec: JobSpec) -> list[str]:
    """What `render` would print, a line per object; pods with what each one asks for. Raises SpecError."""
    from deploy.manifests.names import object_name
    from deploy.manifests.rayjob import render_job
    from orchestrator.submit.code import job_code

    lines = []
    for document in render_job(spec, job_code(spec), name=object_name(spec.name)).documents:
        lines.append(f"{document['kind']} {document['metadata']['name']}")
        if document["kind"] == "RayJob":
            cluster = document["spec"]["rayClusterSpec"]
            asked = [f"1 head pod(s) of {_limits(cluster['headGroupSpec'])}"]
            asked += [f"{_pods(group)} worker pod(s) of {_limits(group)}" for group in cluster["workerGroupSpecs"]]
            lines[-1] += f" in namespace {document['metadata']['namespace']}: {', '.join(asked)}"
    return lines


def _pods(group: dict[str, Any]) -> str:
    least, most = group["minReplicas"], group["maxReplicas"]
    return str(most) if least == most else f"{least} to {most}"


def _limits(group: dict[str, Any]) -> str:
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    return " and ".join(f"{amount} {name}" for name, amount in limits.items())


def documents_in(folder: Path, texts: dict[str, str], *, as_json: bool) -> None:
    """Write the files and say which. Raises SpecError where the folder cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--output {folder} cannot be written to: {error.strerror}; name another folder") from error
    paths = [str(folder / name) for name in texts]
    if as_json:
        print_json({"files": paths})
    else:
        console.out.print("\n".join(paths), markup=False)


@dataclass(frozen=True)
class Service:
    """Options of `deploy --to kuberay`."""

    job: str | None
    namespace: str | None
    context: str | None
    folder: Path
    tracking_uri: str | None


def refuse(**given: bool) -> None:
    """Raise SpecError for an option that says nothing about Kubernetes."""
    for name, is_given in given.items():
        if is_given:
            raise SpecError(
                f"--{name} is for an endpoint on this machine; on Kubernetes kubernetes.serve in the file of --job "
                "says how many pods answer, and they do so on port 8000"
            )


def deploy_to_kuberay(model: str, options: Service, *, as_json: bool) -> None:
    """Serve a registered model on Kubernetes and say where it answers."""
    job = options.job
    overrides = placed(None, namespace=options.namespace, context=options.context)
    serve, kubernetes, uri = _settings_of(job, overrides) if job else (ServeSpec(), _defaults(options), None)
    from orchestrator.submit.kuberay_service import deploy_service

    folder, uri = options.folder, options.tracking_uri or uri
    done = deploy_service(model, serve, kubernetes, folder=folder, uri=uri)
    if as_json:
        print_json({**vars(done), "url": done.url})
        return
    console.out.print(f"RayService {done.name}: {done.change}; it serves {done.model} version {done.version}")
    console.out.print(f"when its pods are up, it answers in the cluster at {done.url}/predict; from here:")
    console.out.print(f"  kubectl port-forward --namespace {done.namespace} service/{done.service} 8000", markup=False)


def _settings_of(job: str, overrides: list[str]) -> tuple[ServeSpec, KubernetesSpec, str | None]:
    spec = load_spec(job, overrides)
    kubernetes = spec.kubernetes or KubernetesSpec()
    # The pods read the registry that the job writes to.
    reads = spec.tracking.uri or kubernetes.mlflow_uri
    return spec.serve, kubernetes.model_copy(update={"mlflow_uri": reads}), spec.tracking.uri


def _defaults(options: Service) -> KubernetesSpec:
    """Raises SpecError for an option that is no name of Kubernetes."""
    given = {"namespace": options.namespace, "context": options.context}
    try:
        return KubernetesSpec.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        text = str(first["msg"]).removeprefix("Value error, ")
        raise SpecError(f"--{first['loc'][0]} {first['input']}: {text}") from error
