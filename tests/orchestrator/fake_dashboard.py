"""A server that speaks what Ringmaster uses of Ray's dashboard: the Jobs API, nodes, placement groups, tokens."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web


class FakeDashboard:
    """A dashboard of one node; `jobs` holds what it tells."""

    token = "a" * 64

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.output: dict[str, str] = {}
        self.cuts: list[int] = []
        """Characters after which the next connections that follow an output break."""
        self.nodes = [{"node_name": "n0", "is_head_node": True, "resources_total": {"CPU": 2.0}}]
        self.groups: list[dict[str, Any]] = []
        self.packages: dict[str, bytes] = {}
        self.bodies: list[dict[str, Any]] = []
        self.usage: dict[str, list[float]] = {}
        """Resource -> in use and in all."""
        self.endless = False
        """Whether a job that is followed runs on after what it has printed."""
        self.asked = 0
        """How often one job was asked for."""
        self.outputs_sent = 0
        """How often a whole output was asked for."""
        self.states: list[str] = []
        """What the next requests about a job find; AWAY: a proxy answers that it finds no head node."""

    def add(self, id: str, status: str, **fields: Any) -> None:
        entrypoint = "python -m orchestrator train job.yaml"
        self.jobs[id] = {"type": "SUBMISSION", "submission_id": id, "status": status, "entrypoint": entrypoint}
        self.jobs[id] |= {"metadata": {"ringmaster": "1"}, "start_time": 1_700_000_000_000, **fields}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/api/version", self._version)
        app.router.add_get("/api/v0/nodes", self._nodes)
        app.router.add_get("/api/v0/placement_groups", self._groups)
        app.router.add_get("/api/cluster_status", self._cluster)
        app.router.add_get("/api/packages/{protocol}/{name}", self._no_package)
        app.router.add_put("/api/packages/{protocol}/{name}", self._put)
        app.router.add_get("/api/jobs/", self._jobs)
        app.router.add_post("/api/jobs/", self._submit)
        app.router.add_get("/api/jobs/{id}", self._job)
        app.router.add_post("/api/jobs/{id}/stop", self._stop)
        app.router.add_get("/api/jobs/{id}/logs", self._logs)
        app.router.add_get("/api/jobs/{id}/logs/tail", self._tail)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        if given is None:
            return web.Response(status=401, text="Unauthorized: Missing authentication token")
        if given != f"Bearer {self.token}":
            return web.Response(status=403, text="Forbidden: Invalid authentication token")
        return await handler(request)

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "4", "ray_version": "2.60.0"})

    async def _nodes(self, _: web.Request) -> web.Response:
        return web.json_response({"result": True, "data": {"result": {"result": self.nodes}}})

    async def _groups(self, _: web.Request) -> web.Response:
        return web.json_response({"result": True, "data": {"result": {"result": self.groups}}})

    async def _cluster(self, _: web.Request) -> web.Response:
        return web.json_response({"data": {"clusterStatus": {"loadMetricsReport": {"usage": self.usage}}}})

    async def _no_package(self, _: web.Request) -> web.Response:
        return web.Response(status=404)

    async def _jobs(self, _: web.Request) -> web.Response:
        return web.json_response(list(self.jobs.values()))

    async def _put(self, request: web.Request) -> web.Response:
        self.packages[request.match_info["name"]] = await request.read()
        return web.Response()

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if body["submission_id"] in self.jobs:
            text = (
                f"Traceback\nValueError: Job with submission_id {body['submission_id']} already exists. Use another."
            )
            outer = f"Traceback\nRuntimeError: Request failed with status code 400: {text}\n.\n"
            return web.Response(status=500, text=outer)
        self.add(body["submission_id"], "PENDING")
        return web.json_response({"job_id": body["submission_id"], "submission_id": body["submission_id"]})

    async def _job(self, request: web.Request) -> web.Response:
        job = self.jobs.get(request.match_info["id"])
        self.asked += 1
        if job and self.states:
            job["status"] = self.states.pop(0)
            if job["status"] == "AWAY":
                return web.Response(status=503, text="<html>upstream connect error</html>")
        return web.json_response(job) if job else web.Response(status=404, text="Job does not exist")

    async def _stop(self, request: web.Request) -> web.Response:
        self.jobs[request.match_info["id"]]["status"] = "STOPPED"
        return web.json_response({"stopped": True})

    async def _logs(self, request: web.Request) -> web.Response:
        self.outputs_sent += 1
        return web.json_response({"logs": self.output.get(request.match_info["id"], "")})

    async def _tail(self, request: web.Request) -> web.StreamResponse:
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        id = request.match_info["id"]
        if self.cuts:
            await answer.send_str(self.output[id][: self.cuts.pop(0)])
            request.transport.abort()
            return answer
        for start in range(0, len(self.output[id]), 7):  # in chunks that are no lines
            await answer.send_str(self.output[id][start : start + 7])
        if self.endless:
            await answer.receive()
            return answer
        self.jobs[id]["status"] = "SUCCEEDED"
        return answer


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[tuple[FakeDashboard, str]]:
    """A dashboard that listens, behind TLS where that is given, and its address."""
    fake = FakeDashboard()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(fake.app(), shutdown_timeout=0)
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    loop.run_until_complete(site.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield fake, f"{'https' if tls else 'http'}://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
