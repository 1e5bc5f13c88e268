"""The small text store of the rendezvous server: what ranks say to each other without a ring.

Used before the ring stands and after it broke. Without a rendezvous server (one process, or MPI)
every function does nothing.
"""

import contextlib
import json
import os
import time
import urllib.error
import urllib.request

ANSWER_TIMEOUT_S = 5.0


def put(key: str, text: str) -> None:
    """Write `text` under `key`; silent where it cannot: it is a courtesy to the other ranks."""
    url = _url(key)
    if url is None:
        return
    request = urllib.request.Request(url, data=json.dumps(text).encode(), method="PUT")
    with contextlib.suppress(OSError):
        urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S).close()


def get(key: str) -> str | None:
    """Return the text under `key`, or None when nothing stands there or the server is gone."""
    url = _url(key)
    if url is None:
        return None
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S) as answer:
            return str(json.loads(answer.read()))
    except OSError:  # an HTTPError 404 is one, too
        return None


def wait_for(keys: list[str], timeout_s: float) -> list[str]:
    """Return the keys that nobody wrote within `timeout_s`."""
    missing, until = list(keys), time.monotonic() + timeout_s
    while True:
        missing = [key for key in missing if get(key) is None]
        if not missing or time.monotonic() >= until:
            return missing
        time.sleep(0.1)


def exists() -> bool:
    """Return whether this process was told of a rendezvous server."""
    return _url("") is not None


def _url(key: str) -> str | None:
    address = os.environ.get("HOROVOD_GLOO_RENDEZVOUS_ADDR")
    port = os.environ.get("HOROVOD_GLOO_RENDEZVOUS_PORT")
    # Elastic Horovod has a server of its own kind, which other keys would disturb.
    if not address or not port or os.environ.get("HOROVOD_ELASTIC", "0") != "0":
        return None
    return f"http://{address}:{port}/ringmaster/{key}"
