"""Commands about clusters: `cluster up`, `cluster down`, and `plan`, which says what a job will do on one."""

# ruff: noqa: PLR0913 (an option of a command is a parameter)

import getpass
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from configs.errors import SpecError
from configs.load import load_spec
from orchestrator import console
from orchestrator.command import Debug, Job, Json, Overrides, Verbose, app, command, print_json
from orchestrator.kubernetes_cli import objects_of
from orchestrator.submit.places import ADDRESS_VARIABLE

cluster = typer.Typer(no_args_is_help=True, help="Start or end a Ray cluster of your own.")
app.add_typer(cluster, name="cluster", epilog="Example: ringmaster cluster up --nodes 2")

Hosts = Annotated[
    Path | None, typer.Option(help="A file with a host on each line, the head first; by default this machine alone.")
]
User = Annotated[str | None, typer.Option(help="With --hosts: user of ssh on them; by default the one here.")]
Key = Annotated[
    Path | None,
    typer.Option(help="With --hosts: private key file of ssh, for the head too; by default each host's own."),
]
Python = Annotated[str, typer.Option(help="With --hosts: their interpreter that has Ringmaster.")]


@command("ringmaster cluster up --nodes 2", cluster)
def up(
    nodes: Annotated[int, typer.Option(min=1, help="Nodes on this machine, each a set of processes.")] = 1,
    cpus_per_node: Annotated[
        int | None, typer.Option(min=1, help="CPUs that each node offers; by default all are shared out.")
    ] = None,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of the head, for cluster.address.")] = 6379,
    dashboard_port: Annotated[
        int, typer.Option(min=1024, max=65535, help="Port of the dashboard and of jobs.")
    ] = 8265,
    hosts: Hosts = None,
    user: User = None,
    key: Key = None,
    python: Python = "python",
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Start a Ray cluster that asks for a token, on this machine or on hosts reached by ssh."""
    if hosts is not None:
        if nodes != 1:
            raise SpecError("--nodes is for a cluster on this machine; with --hosts every host is a node")
        from orchestrator import host_cluster

        key = key.expanduser().absolute() if key else None
        options = host_cluster.HostOptions(user or getpass.getuser(), key, python, port, dashboard_port, cpus_per_node)
        made = host_cluster.up(hosts, options, say=_say, verbose=verbose)
        _announce(made, as_json=as_json, end=f"ringmaster cluster down --hosts {hosts}")
        return
    if user or key or python != "python":
        raise SpecError("--user, --key and --python go with --hosts")
    from orchestrator import local_cluster

    cores = len(os.sched_getaffinity(0))
    started = local_cluster.up(
        nodes=nodes, cpus_per_node=cpus_per_node or max(1, cores // nodes), port=port, dashboard_port=dashboard_port
    )
    _announce(asdict(started), as_json=as_json, end="ringmaster cluster down")


@command("ringmaster cluster down", cluster)
def down(hosts: Hosts = None, as_json: Json = False, verbose: Verbose = False, debug: Debug = False) -> None:
    """End the cluster that `cluster up` started, and the jobs on it."""
    if hosts is not None:
        from orchestrator import host_cluster

        message = f"ended Ray on {host_cluster.down(hosts, verbose=verbose)} host(s)"
    else:
        from orchestrator import local_cluster

        ended = local_cluster.down()
        message = f"ended {ended} process(es)" if ended else "no cluster of `ringmaster cluster up` runs here"
    if as_json:
        print_json({"message": message})
    else:
        console.out.print(message, markup=False)


@command("ringmaster plan job.yaml --address http://head:8265")
def plan(
    job: Job,
    overrides: Overrides = None,
    address: Annotated[
        str | None,
        typer.Option(help=f"Dashboard of a Ray cluster to check; by default {ADDRESS_VARIABLE}, or this machine."),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Show rows, steps, shards, learning rate and memory before anything runs; exit 1 when the workers do not fit."""
    spec = load_spec(job, overrides or [])
    console.keep_log(spec.folder)
    from orchestrator.plan import make_plan

    made = make_plan(spec, lambda text: console.err.print(f"  {text}", markup=False))
    address = address or os.environ.get(ADDRESS_VARIABLE)
    room: dict[str, Any] | None = None
    from orchestrator.submit.room import find_room, this_machine

    if not address and spec.cluster.address is None:
        found = find_room(spec.cluster, [this_machine()])
        room = {"address": None, "nodes": 1, **asdict(found), "free": found.total}
    elif address:
        from orchestrator.submit.ray_dashboard import Dashboard

        dashboard = Dashboard(address)
        nodes = dashboard.nodes()
        found, used = find_room(spec.cluster, nodes), dashboard.in_use()
        free = {name: amount - used.get(name, 0.0) for name, amount in found.total.items()}
        room = {"address": dashboard.url, "nodes": len(nodes), **asdict(found), "free": free}
    objects = objects_of(spec) if "kubernetes" in spec.model_fields_set else []
    if as_json:
        print_json({**asdict(made), "cluster": room, "kubernetes": objects})
    else:
        for line in [*_plan_lines(asdict(made), room), *(f"kubernetes: {line}" for line in objects)]:
            console.out.print(line, markup=False)
    if room and room["problem"]:
        if as_json:
            raise typer.Exit(1)
        console.fail(room["problem"])
        raise typer.Exit(1)


def _say(text: str) -> None:
    console.err.print(text, markup=False)


def _announce(started: dict[str, Any], *, as_json: bool, end: str) -> None:
    if as_json:
        print_json(started)
        return
    console.out.print(f"a Ray cluster answers at {started['dashboard']}", markup=False)
    console.out.print(f"submit: ringmaster submit JOB.yaml --to ray --address {started['dashboard']}", markup=False)
    console.out.print(f"end it: {end}", markup=False)


def _plan_lines(made: dict[str, Any], room: dict[str, Any] | None) -> list[str]:
    rows = ", ".join(f"{count:,} {part}" for part, count in made["rows"].items())
    elastic = "" if made["least_workers"] == made["workers"] else f" (at least {made['least_workers']})"
    each = f"{made['cpus_per_worker']} CPU" + (
        f" and {made['gpus_per_worker']} GPU" if made["gpus_per_worker"] else ""
    )
    lines = [
        f"{made['job']}: {made['workers']} worker(s){elastic} of {each} each",
        f"rows: {rows}; {made['loading']}",
        f"steps: {made['steps_per_epoch']:,} per epoch, {made['steps_per_epoch'] * made['epochs']:,} in "
        f"{made['epochs']} epochs",
        f"global batch: {made['global_batch_rows']:,} rows, by rank {_counts(made['batch_rows'])}; the last one of an "
        f"epoch has {made['last_batch_rows']:,}, none are padded",
        f"shard of an epoch: rows by rank {_counts(made['shard_rows'])}",
        f"learning rate of {made['optimizer']}: {made['learning_rate']}",
        f"memory: {_held(made)}, "
        f"{_size(made['batch_bytes_per_worker'])} per batch of a worker; the model comes on top",
        *(f"data: {line}" for line in made["notes"]),
    ]
    if room:
        shown = {name: f"{amount:g} {name}" for name, amount in room["total"].items()}
        if room["address"]:
            shown = {name: f"{text} ({room['free'][name]:g} free now)" for name, text in shown.items()}
        where = f"cluster {room['address']}: {room['nodes']} node(s)" if room["address"] else "this machine"
        lines.append(f"{where}, {', '.join(shown.values())}; it holds {room['workers']} worker(s)")
    return lines


def _held(made: dict[str, Any]) -> str:
    if made["disk_bytes"]:
        windows = _size(made["window_bytes_per_worker"])
        return f"{windows} of rows mapped by a worker, of {_size(made['disk_bytes'])} on disk"
    return f"{_size(made['data_bytes_per_host'])} of rows shared by the workers of a host"


def _counts(rows: list[int]) -> str:
    """[3, 3, 2] -> "2 x 3, 1 x 2"."""
    return ", ".join(f"{rows.count(count)} x {count:,}" for count in dict.fromkeys(rows))


def _size(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"
