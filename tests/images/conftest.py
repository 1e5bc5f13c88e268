"""Images built without a Docker engine: buildah on a base that debootstrap makes, all in a folder that goes again."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/debian:bookworm-slim"
CERTIFICATES = "/etc/ssl/certs"
TOOLS = ("buildah", "debootstrap")


class Images:
    """A store of images, and containers made from them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
        self._containers: dict[str, str] = {}

    def buildah(self, *arguments: str) -> str:
        """Run buildah and return what it printed last, on standard output."""
        command = [*self._command(), *arguments]
        done = subprocess.run(command, env=self._environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def make_base(self) -> None:
        """The base image under the name in the Dockerfiles' FROM lines."""
        tree = self._folder / "base"
        debootstrap = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(tree)]
        done = subprocess.run(debootstrap, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, f"debootstrap: {done.stdout[-2000:]}"
        shutil.rmtree(tree / "var" / "cache" / "apt" / "archives")
        archive = self._folder / "base.tar"
        subprocess.run(["tar", "--create", "--file", str(archive), "--directory", str(tree), "."], check=True)
        shutil.rmtree(tree)
        container = self.buildah("from", "scratch")
        self.buildah("add", container, str(archive), "/")
        self.buildah("commit", "--rm", container, BASE)
        archive.unlink()

    def build(self, name: str) -> None:
        """Build one image from the repository, as its Dockerfile says."""
        options = ["--pull-never", "--layers=false", "--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
        self.buildah("bud", *options, "-f", f"deploy/images/{name}.Dockerfile", "-t", f"localhost/{name}", ".")
        self._containers[name] = self.buildah("from", "--pull-never", f"localhost/{name}")

    def size_mb(self, name: str) -> float:
        """Of all files of an image, in MB."""
        tree = Path(self.buildah("mount", self._containers[name]))
        used = subprocess.run(["du", "-sb", str(tree)], capture_output=True, text=True, check=True).stdout
        self.buildah("umount", self._containers[name])
        return int(used.split()[0]) / 1e6

    def run(
        self, name: str, *command: str, mounts: dict[Path, str] | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a container to its end."""
        arguments = self._run_arguments(name, mounts or {}, environment)
        return subprocess.run(
            [*arguments, "--", *command], env=self._environment, capture_output=True, text=True, check=False
        )

    def start(
        self, name: str, *command: str, log: Path, mounts: dict[Path, str], **environment: str
    ) -> subprocess.Popen[bytes]:
        """Run a command in a container in the background, in a process group of its own."""
        arguments = self._run_arguments(name, mounts, environment)
        with log.open("w") as stream:
            return subprocess.Popen(
                [*arguments, "--", *command],
                env=self._environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def _run_arguments(self, name: str, mounts: dict[Path, str], environment: dict[str, str]) -> list[str]:
        volumes = [f"--volume={source}:{place}" for source, place in mounts.items()]
        variables = [f"--env={key}={value}" for key, value in environment.items()]
        return [*self._command(), "run", *volumes, *variables, self._containers[name]]

    def _command(self) -> list[str]:
        return ["buildah", f"--root={self._folder}/store", f"--runroot={self._folder}/run"]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """The CPU images, built; skip where the tools are absent."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: apt-get install {' '.join(TOOLS)}")
    if os.geteuid() != 0:
        pytest.skip("debootstrap makes a base image as root only")
    folder = tmp_path_factory.mktemp("images")
    folder.chmod(0o755)
    store = Images(folder)
    try:
        store.make_base()
        for name in ("mlflow", "serve", "train-cpu"):
            store.build(name)
        yield store
    finally:
        try:
            store.buildah("rm", "--all")
        finally:
            shutil.rmtree(folder)


@pytest.fixture
def free_port() -> Any:
    """Return `port()`: a port that nobody listens on."""

    def port() -> int:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            return int(probe.getsockname()[1])

    return port
