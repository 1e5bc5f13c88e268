"""The README of k8s/, followed as far as a machine without a cluster allows."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "k8s" / "README.md", ROOT / "deploy" / "images" / "README.md"]
README = READMES[0].read_text()
DRY = "--dry-run=client --output=yaml"


def step(number: int) -> str:
    """One of the five commands."""
    block = re.search(r"```bash\n(# 1\..*?)```", README, re.DOTALL)
    assert block
    found = re.search(rf"# {number}\.[^\n]*\n(.*?)(?=\n\n#|\Z)", block[1], re.DOTALL)
    assert found
    return found[1].strip()


def secret(command: str) -> dict[str, Any]:
    """The Secret that a shell command would create."""
    for tool in ("kubectl", "openssl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(yaml.safe_load(done.stdout))


def test_the_secret_of_mlflow_has_what_its_pods_ask_for() -> None:
    made = secret(f"{step(3)} {DRY}")
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("mlflow-server", "ringmaster")
    asked = set(re.findall(r"secretKeyRef: \{name: mlflow-server, key: ([a-z-]+)\}", manifests()))
    assert set(made["data"]) == asked
    assert len(set(made["data"].values())) == len(made["data"]), "every password is another one"


def test_jobs_log_in_with_the_secret_that_is_made_from_it() -> None:
    reading = "kubectl --namespace ringmaster get secret mlflow-server"
    assert reading in step(4)
    made = secret(step(4).replace(reading, f"{step(3)} --dry-run=client") + f" {DRY}")
    assert made["metadata"]["name"] == "ringmaster-mlflow"
    assert set(made["data"]) == {"username", "password"}


def test_the_other_commands_name_what_is_there() -> None:
    assert "kubectl apply -k k8s/overlays/dev" in step(2)
    assert (ROOT / "k8s" / "overlays" / "dev" / "kustomization.yaml").is_file()
    assert "--version 1.7.0" in step(1) and "--namespace kuberay-system" in step(1)
    assert step(5).startswith("ringmaster submit digits --to kuberay ")
    for overlay in (ROOT / "k8s" / "overlays").iterdir():
        assert f"`overlays/{overlay.name}/`" in README


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_links_lead_somewhere(readme: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", readme.read_text())
    assert [target for target in targets if "://" not in target and not (readme.parent / target).exists()] == []


def manifests() -> str:
    return "".join(path.read_text() for path in (ROOT / "k8s" / "mlflow").glob("*.yaml"))
