"""Talks to the dashboard of a running Ray cluster: the Jobs API and what nodes there are. Every failure has one line.

Knows nothing about Ringmaster's jobs; see `ray.py`.
"""

import logging
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import requests
from ray.dashboard.modules.job.sdk import JobSubmissionClient
from ray.exceptions import AuthenticationError

from configs.errors import ClusterError, Unreachable, one_line

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 (a path)
TRUST_VARIABLE = "REQUESTS_CA_BUNDLE"
CONNECT_S, READ_S = 5.0, 60.0
CHATTER = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers of Ray's client that tell every step."""


@dataclass(frozen=True)
class Node:
    """A living node and what it has in all."""

    name: str
    head: bool
    resources: dict[str, float]


class Refused(ClusterError):
    """The dashboard answered with an error; `status` is that of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def read_token() -> str | None:
    """The cluster's token, from where Ray looks for it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token.

    Raises ClusterError for a file that cannot be read.
    """
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named or TOKEN_FILE).expanduser()
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        if named is None:
            return None
        raise ClusterError(f"RAY_AUTH_TOKEN_PATH={named}: no such file; correct it, or unset it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(
            f"the token in {path} cannot be read: {error}; fix the file, or set RAY_AUTH_TOKEN"
        ) from error


def dashboard_url(address: str) -> str:
    """Return the address as http(s)://host:port. Raises ClusterError for any other kind of address."""
    url = (address if "://" in address else f"http://{address}").rstrip("/")
    if ("://" not in address and ":" not in address) or not re.fullmatch(
        r"https?://[^/\s:@]+(:\d+)?(/[^\s@]*)?|https?://\[[0-9a-fA-F:]+\](:\d+)?", url
    ):
        raise ClusterError(
            f"--address {address}: expected the address of the cluster's dashboard, for example http://head:8265"
        )
    return url


class Dashboard:
    """A connection to a dashboard, with the token that Ray's own tools would use."""

    def __init__(self, address: str) -> None:
        """Ask for the version. Raises ClusterError when no Ray answers there, or not to us."""
        self.url = dashboard_url(address)
        for name in CHATTER:
            logging.getLogger(name).setLevel(logging.WARNING)
        token = read_token()
        self.has_token = token is not None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        verify = _trusted()
        with self.explained(), _named_in_environment(self.url):
            try:
                self.client = _Client(self.url, headers=headers, verify=verify)
            except (requests.HTTPError, KeyError, ValueError, RuntimeError) as error:
                if isinstance(error, AuthenticationError):
                    raise
                why = one_line(error).partition(". ")[0]
                raise ClusterError(
                    f"what answers at {self.url} is no Ray dashboard ({why}); give the port of the dashboard, 8265 "
                    "unless it was chosen"
                ) from error

    def nodes(self) -> list[Node]:
        """The nodes that live, the head first."""
        found = self._state("nodes?detail=1&limit=10000&filter_keys=state&filter_predicates=%3D&filter_values=ALIVE")
        nodes = [Node(one["node_name"], bool(one["is_head_node"]), one["resources_total"] or {}) for one in found]
        return sorted(nodes, key=lambda node: (not node.head, node.name))

    def in_use(self) -> dict[str, float]:
        """What running jobs hold now, by resource; empty where the cluster does not say."""
        status = self.get("/api/cluster_status")["data"].get("clusterStatus") or {}
        usage = (status.get("loadMetricsReport") or {}).get("usage") or {}
        return {name: float(pair[0]) for name, pair in usage.items()}

    def waiting_groups(self) -> dict[str, list[dict[str, float]]]:
        """Ray's id of a driver -> the resources of every bundle that waits for room."""
        found = self._state("placement_groups?detail=1&limit=10000")
        waiting = [one for one in found if one["state"] in {"PENDING", "RESCHEDULING"}]
        return {
            one["creator_job_id"]: [bundle.get("unit_resources") or {} for bundle in one["bundles"] or []]
            for one in waiting
        }

    def get(self, path: str) -> Any:
        """GET a path and return the JSON. Raises ClusterError."""
        with self.explained():
            answer = self.client._do_request("GET", path)
            if answer.status_code != 200:
                raise _refused(f"{self.url}{path}", answer.status_code, answer.text)
            return answer.json()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what Ray's client raises into a ClusterError; `Refused` where the server says no."""
        try:
            yield
        except AuthenticationError as error:
            raise ClusterError(self._about_token()) from error
        except (ConnectionError, requests.ConnectionError, requests.Timeout) as error:
            if isinstance(inner := _innermost(error), ssl.SSLError):
                raise ClusterError(
                    f"no TLS connection to {self.url}: {inner.reason or inner}; if its certificate is signed by an "
                    f"authority of your own, name that one's certificate in {TRUST_VARIABLE}; if it speaks no TLS, "
                    "use http://"
                ) from error
            raise Unreachable(
                f"no Ray dashboard answers at {self.url} ({_cause(error)}); check that the head node runs, that it "
                "was started with --dashboard-host=0.0.0.0, and that its port can be reached from here"
            ) from error
        except requests.RequestException as error:
            raise Unreachable(f"{self.url} could not be asked: {one_line(error)}") from error
        except RuntimeError as error:
            found = re.match(r"Request failed with status code (\d+): (.*)", str(error), re.DOTALL)
            if found is None:
                raise
            raise _refused(self.url, int(found[1]), found[2]) from error

    def _state(self, path: str) -> list[dict[str, Any]]:
        return list(self.get(f"/api/v0/{path}")["data"]["result"]["result"])

    def _about_token(self) -> str:
        if self.has_token:
            return (
                f"{self.url} refuses the token; it is read from RAY_AUTH_TOKEN, else RAY_AUTH_TOKEN_PATH, else "
                f"{TOKEN_FILE}: put the cluster's own there"
            )
        return f"{self.url} asks for a token: set RAY_AUTH_TOKEN, or put the cluster's token into {TOKEN_FILE}"


def _refused(url: str, status: int, body: str) -> ClusterError:
    """What a status of HTTP other than 200 means; a proxy answers for a head node that is away."""
    if status in {502, 503, 504}:
        return Unreachable(f"no Ray dashboard answers at {url} ({status}); check that the head node runs")
    # A traceback of the head node, in one of the dashboard: the last line that is not only a full stop.
    lines = [line.strip() for line in body.splitlines() if line.strip(" .")]
    return Refused(f"{url} refuses ({status}): {(lines or ['no reason given'])[-1][:400]}", status)


class _Client(JobSubmissionClient):
    """Ray's client, which would wait forever where nothing answers."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        answer: requests.Response = super()._do_request(method, endpoint, timeout=(CONNECT_S, READ_S), **options)
        return answer


@contextmanager
def _named_in_environment(url: str) -> Iterator[None]:
    """Ray's client prefers an address of the environment to the one that it is given."""
    before = os.environ.get(ADDRESS_VARIABLE)
    os.environ[ADDRESS_VARIABLE] = url
    try:
        yield
    finally:
        if before is None:
            del os.environ[ADDRESS_VARIABLE]
        else:
            os.environ[ADDRESS_VARIABLE] = before


def _trusted() -> str | bool:
    """Whom to trust behind https, told as everywhere; True for the authorities that `requests` comes with."""
    path = os.environ.get(TRUST_VARIABLE)
    if not path:
        return True
    try:
        ssl.create_default_context(cafile=None if Path(path).is_dir() else path)
    except OSError as error:  # not there, or no certificate
        raise ClusterError(
            f"{TRUST_VARIABLE}={path} cannot be used ({error.strerror or error}); name a file of certificates (PEM), "
            "or unset it"
        ) from error
    return path


def _innermost(error: BaseException) -> BaseException:
    """The first reason: requests and urllib3 wrap it several times."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error


def _cause(error: BaseException) -> str:
    inner = _innermost(error)
    text = one_line(inner)
    if not text.isprintable() or isinstance(inner, HTTPException):
        return "what listens there does not speak HTTP; the dashboard's port is 8265 unless it was chosen"
    return text.rpartition("] ")[2] if isinstance(inner, OSError) else text
