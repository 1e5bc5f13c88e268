"""Which files leave the machine with a job, and which never do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from configs.errors import SpecError
from configs.job import JobSpec
from configs.load import load_spec
from orchestrator.submit import code
from orchestrator.submit.code import collect, job_code

Make = Callable[..., JobSpec]


def write(folder: Path, *paths: str, content: str = "x = 1\n") -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)


def test_python_files_travel_with_their_folders_and_nothing_else_does(tmp_path: Path) -> None:
    write(tmp_path, "model.py", "layers/__init__.py", "layers/block.py", "README.md", "job.yaml", "notes.txt")
    write(tmp_path, ".hidden/a.py", "__pycache__/a.py", "venv/pyvenv.cfg", "venv/lib/b.py", "build/lib/model.py")
    assert list(collect(tmp_path)) == ["layers/__init__.py", "layers/block.py", "model.py"]
    assert collect(tmp_path)["model.py"] == b"x = 1\n"


def test_ringmasterignore_leaves_out_and_takes_along(tmp_path: Path) -> None:
    write(tmp_path, "model.py", "old/model.py", "test_model.py", "vocab.json", "sub/vocab.json", "labels.txt")
    (tmp_path / ".ringmasterignore").write_text("# not needed there\nold/\ntest_*.py\n!/vocab.json\n")
    assert list(collect(tmp_path)) == ["model.py", "vocab.json"]


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".env.local", "prod.env", "server.pem", "tls.key", "id_rsa", "id_ed25519.pub", ".netrc"),
        *("credentials", "aws_credentials.json", "client-secret.json", "secrets/db.py", "kubeconfig", ".aws/config"),
        *("my-service-account.json", "gcp_service_account_prod.json", ".ray/auth_token", "api_token.txt"),
        *("train.csv", "data/train.parquet", "scan.JPG", "model.keras", "weights.pt", "rows.jsonl", "a.npz"),
        *("train.csv.gz", "mlruns/0/code.py", "ringmaster-runs/checkpoints/a.py", "mlflow.db", "train-images-ubyte"),
    ],
)
def test_secrets_and_data_do_not_travel_even_when_asked_for(tmp_path: Path, path: str) -> None:
    write(tmp_path, "model.py", path)
    (tmp_path / ".ringmasterignore").write_text(f"!*\n!{path}\n")
    assert list(collect(tmp_path)) == ["model.py"]


def test_a_file_over_one_mebibyte_is_data(tmp_path: Path) -> None:
    write(tmp_path, "model.py")
    (tmp_path / "table.py").write_bytes(b"#" * (code.MAX_FILE_BYTES + 1))
    (tmp_path / "just.py").write_bytes(b"#" * code.MAX_FILE_BYTES)
    assert list(collect(tmp_path)) == ["just.py", "model.py"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/private.py", "job/model.py")
    (tmp_path / "job" / "link.py").symlink_to(tmp_path / "elsewhere" / "private.py")
    (tmp_path / "job" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "job" / "alias.py").symlink_to("model.py")
    (tmp_path / "job" / "broken.py").symlink_to("nothing.py")
    assert list(collect(tmp_path / "job")) == ["alias.py", "model.py"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('connect("postgresql://me:hunter22@db/x")', "a password in a URI"),
        (f'KEY = "AKIA{"Q" * 16}"', "an AWS access key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        (f'TOKEN = "hf_{"a" * 34}"', "an access token"),
    ],
)
def test_a_secret_inside_a_file_stops_the_submission_and_is_not_repeated(
    small_job: Make, tmp_path: Path, line: str, kind: str
) -> None:
    write(tmp_path, "model.py", content=f"import os\n\n{line}\n")
    with pytest.raises(SpecError) as caught:
        job_code(small_job())
    assert str(caught.value) == (
        f"model.py line 3 holds {kind}, and secrets do not travel: read it from the environment of the cluster, or "
        "name the file in .ringmasterignore"
    )
    (tmp_path / ".ringmasterignore").write_text("model.py\n")
    assert job_code(small_job()) == {}


def test_too_much_names_the_largest_file(small_job: Make, tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"part{number}.py").write_bytes(b"#" * (2**20 - 9 + number))
    expected = r"the 9 files beside the YAML file are 9.0 MiB, and at most 8 MiB may travel \(the largest is part8.py"
    with pytest.raises(SpecError, match=expected):
        job_code(small_job())


def test_the_modules_that_the_job_names_are_among_the_files(small_job: Make, tmp_path: Path) -> None:
    write(tmp_path, "models.py")
    spec = small_job("model.function=models:build", "model.params={}")
    assert list(job_code(spec)) == ["models.py"]
    (tmp_path / ".ringmasterignore").write_text("models.py\n")
    with pytest.raises(
        SpecError, match="model.function names models, but models.py does not travel: .ringmasterignore"
    ):
        job_code(spec)


def test_a_module_of_the_working_folder_alone_is_refused(
    small_job: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_job()
    write(tmp_path, "here/models.py")
    monkeypatch.chdir(tmp_path / "here")
    spec = load_spec("../job.yaml", ["model.function=models:build", "model.params={}"])
    with pytest.raises(SpecError, match="model.function names models, which lies in .*here and not beside the YAML"):
        job_code(spec)


def test_a_recipe_needs_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert job_code(load_spec("titanic")) == {}
