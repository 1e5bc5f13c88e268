"""What can be said of the images without building them."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "images"
NAMES = ("train-cpu", "train-gpu", "serve", "mlflow")
COMPILERS = {"g++", "gcc", "make", "python3-dev", "build-essential"}


def instructions(name: str) -> list[tuple[str, str]]:
    """(instruction, rest) of a Dockerfile, continued lines joined."""
    text = (FOLDER / f"{name}.Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], " ".join(line.split()[1:])) for line in lines]


def last_stage(name: str) -> list[tuple[str, str]]:
    found = instructions(name)
    start = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def pins(lock: Path) -> dict[str, str]:
    """name -> version; a package that is pinned for several platforms once."""
    lines = re.findall(r"^([A-Za-z0-9_.-]+(?:\[[^]]*\])?==[^ \\]+)", lock.read_text(), re.MULTILINE)
    found = [Requirement(line) for line in lines]
    return {one.name.lower(): str(one.specifier) for one in found}


@pytest.mark.parametrize("name", NAMES)
def test_the_last_stage_has_no_compiler_and_is_not_root(name: str) -> None:
    stage = last_stage(name)
    assert [word for word, _ in instructions(name)].count("FROM") == 2
    assert ("USER", "1000:1000") in stage
    assert all(not COMPILERS & set(rest.split()) for word, rest in stage if word == "RUN")
    assert ("COPY", "--from=build /opt/venv /opt/venv") in stage


@pytest.mark.parametrize("name", NAMES)
def test_packages_are_installed_by_their_hashes(name: str) -> None:
    runs = " && ".join(rest for word, rest in instructions(name) if word == "RUN")
    installs = [command for command in runs.split("&&") if "pip install" in command]
    assert installs
    for command in installs:
        assert "--require-hashes" in command or ("--no-deps" in command and "--build-constraints" in command), command


@pytest.mark.parametrize("name", NAMES)
def test_what_is_copied_is_there(name: str) -> None:
    for word, rest in instructions(name):
        if word == "COPY" and "--from" not in rest:
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources), rest


@pytest.mark.parametrize("name", NAMES)
def test_images_hold_the_versions_that_are_tested(name: str) -> None:
    ours, tested = pins(FOLDER / f"{name}.lock"), pins(ROOT / "requirements.lock")
    different = {package: version for package, version in ours.items() if tested.get(package, version) != version}
    assert not different, "make lock"
    text = (FOLDER / f"{name}.lock").read_text()
    entries = [entry for entry in re.split(r"\n(?=[A-Za-z])", text) if not entry.startswith("#")]
    assert all("--hash=sha256:" in entry for entry in entries)


def test_images_hold_what_they_are_for() -> None:
    packages = {name: pins(FOLDER / f"{name}.lock") for name in NAMES}
    assert "tensorflow-cpu" in packages["train-cpu"] and "tensorflow-cpu" not in packages["train-gpu"]
    assert {"nvidia-nccl-cu12", "nvidia-cuda-runtime-cu12", "tensorflow"} <= packages["train-gpu"].keys()
    assert "mlflow-skinny" in packages["serve"] and "mlflow" not in packages["serve"]
    assert "horovod" not in packages["serve"]
    assert not {"tensorflow", "tensorflow-cpu", "ray"} & packages["mlflow"].keys()
    assert {"psycopg2-binary", "boto3", "flask-wtf", "prometheus-flask-exporter"} <= packages["mlflow"].keys()


def test_the_toolkit_has_the_cuda_of_the_wheels() -> None:
    arguments = dict(rest.split("=", 1) for word, rest in instructions("train-gpu") if word == "ARG")
    toolkit = re.search(r"cuda:(\d+\.\d+)", arguments["TOOLKIT"])
    wheel = pins(FOLDER / "train-gpu.lock")["nvidia-cuda-runtime-cu12"]
    assert toolkit and wheel.startswith(f"=={toolkit[1]}.")
