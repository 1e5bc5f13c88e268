"""Finds secrets that were written where everybody can read them: YAML files, ConfigMaps, MLflow's parameters."""

import re
from collections.abc import Mapping
from typing import Any

SECRET_NAME = re.compile(
    r"(?i)(^|[_.-])(passw(or)?d|passwd|secret|token|api_?key|access_?key|private_?key|credentials?)($|[_.-](?!name|path|file))"
)
"""Names of variables whose value is a secret."""
SECRET_VALUES = {
    "a password in a URI": re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@"),
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an access token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36}|hf_[A-Za-z0-9]{30,}|xox[abprs]-[A-Za-z0-9-]{10,})\b"),
}


def without_password(uri: str) -> str:
    """A URI without the user and password in it."""
    scheme, separator, rest = uri.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


def require_no_secret(tree: Any, *, where: str) -> None:
    """Raise ValueError naming the key of a value that looks like a secret; the value is not repeated."""
    for place, value in _texts(tree, where):
        key = place.rpartition(".")[2]
        kind = next((kind for kind, pattern in SECRET_VALUES.items() if pattern.search(value)), None)
        if kind is None and value and ".env" in f".{place}" and SECRET_NAME.search(key):
            kind = "a secret"
        if kind is not None:
            raise ValueError(
                f"{place} holds {kind}; put it into a Kubernetes Secret and name that in kubernetes.env_from_secrets"
            )


def _texts(tree: Any, place: str) -> list[tuple[str, str]]:
    if isinstance(tree, str):
        return [(place, tree)]
    if isinstance(tree, Mapping):
        return [found for key, value in tree.items() for found in _texts(value, f"{place}.{key}")]
    if isinstance(tree, list | tuple):
        return [found for index, value in enumerate(tree) for found in _texts(value, f"{place}.{index}")]
    return []


def masked(text: str) -> str:
    """The text with the credentials of each URL in it replaced by `***`."""
    return _OPTION.sub(r"\1***", _USER.sub(r"\1***@", text))


_USER = re.compile(r"([a-z][a-z0-9+.-]*://)(?!anonymous@)[^/\s@]+@", re.IGNORECASE)
_OPTION = re.compile(r"([?&][^=&\s]*(?:key|secret|token|passw|signature|credential)[^=&\s]*=)[^&\s]+", re.IGNORECASE)
