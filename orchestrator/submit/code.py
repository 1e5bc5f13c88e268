"""Which files travel with a job: the Python files beside its YAML file. Secrets and data never do.

A `.ringmasterignore` there, in the syntax of .gitignore, leaves files out; its `!pattern` takes small files of other
kinds along (a vocabulary), but nothing of NEVER.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pathspec import GitIgnoreSpec

from configs.errors import SpecError
from configs.job import JobSpec
from configs.secrets import SECRET_VALUES
from orchestrator.modules import find_source

IGNORE_FILE = ".ringmasterignore"
MAX_FILE_BYTES = 2**20
"""A larger file is data, whatever it is called."""
MAX_TOTAL_BYTES = 8 * 2**20

SECRETS = """
    .env .env.* *.env .envrc .netrc .pgpass .pypirc .npmrc .htpasswd .git-credentials .aws/ .azure/ .docker/ .gnupg/
    .kube/ .ray/ .ssh/ *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.asc *.gpg id_rsa* id_dsa* id_ecdsa*
    id_ed25519* kubeconfig* *credential* *secret*.json *secret*.yaml *secret*.yml *secret*.toml *secret*.ini
    *secret*.txt secrets/ *service[-_]account*.json auth_token *token*.txt *token*.json *password*.txt
""".split()
DATA = """
    *.csv *.tsv *.parquet *.feather *.arrow *.avro *.orc *.jsonl *.ndjson *.npy *.npz *.mat *.tfrecord* *.xls *.xlsx
    *.h5 *.hdf5 *.keras *.onnx *.pb *.pkl *.pickle *.joblib *.pt *.pth *.safetensors *.tflite *.db *.sqlite *.sqlite3
    *.gz *.bz2 *.xz *.zst *.zip *.tar *.tgz *.7z *.bmp *.gif *.jpeg *.jpg *.png *.tif *.tiff *.webp *.wav *.mp3
    *.mp4 *ubyte mlruns/ mlartifacts/ ringmaster-runs/ checkpoints/
""".split()
NEVER = GitIgnoreSpec.from_lines([*SECRETS, *DATA])
MACHINERY = {"__pycache__", "node_modules", "site-packages", "build", "dist"}
"""Folders that hold what others wrote; hidden ones and virtual environments are passed over too."""


def job_code(spec: JobSpec) -> dict[str, bytes]:
    """Return path relative to the YAML file's folder -> content, of the files that travel.

    Raises SpecError for a secret in them, for too much of them, and when what the job names is not among them.
    """
    files = collect(spec.home)
    for path, content in files.items():
        require_no_secret(path, content)
    size = sum(len(content) for content in files.values())
    if size > MAX_TOTAL_BYTES:
        largest = max(files, key=lambda path: len(files[path]))
        raise SpecError(
            f"the {len(files)} files beside the YAML file are {size / 2**20:.1f} MiB, and at most "
            f"{MAX_TOTAL_BYTES // 2**20} MiB may travel (the largest is {largest}, "
            f"{len(files[largest]) / 2**20:.1f} MiB): name what the job does not need in {IGNORE_FILE}"
        )
    for key, function in (("model.function", spec.model.function), ("data.function", spec.data.function)):
        if function is not None:
            _require_module(key, function.partition(":")[0], spec.home, files)
    return files


def collect(home: Path) -> dict[str, bytes]:
    """Read the files that travel, sorted by path. Raises SpecError for one that cannot be read."""
    asked = GitIgnoreSpec.from_lines(_ignore_lines(home))
    files: dict[str, bytes] = {}
    for file in sorted(_candidates(home)):
        path = file.relative_to(home).as_posix()
        ignored = asked.check_file(path).include  # None: no line is about it; False: a line with ! is
        wanted = ignored is False or (ignored is None and file.suffix == ".py")
        if wanted and not NEVER.match_file(path.lower()) and _lies_in(file, home):
            try:
                content = file.read_bytes()
            except OSError as error:
                raise SpecError(f"{file} cannot be read ({error.strerror}); name it in {IGNORE_FILE}") from error
            if len(content) <= MAX_FILE_BYTES:
                files[path] = content
    return files


def require_no_secret(path: str, content: bytes) -> None:
    """Raise SpecError naming the line of a password, key or token in a file; it is not repeated."""
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        for kind, pattern in SECRET_VALUES.items():
            if pattern.search(line):
                raise SpecError(
                    f"{path} line {number} holds {kind}, and secrets do not travel: read it from the environment of "
                    f"the cluster, or name the file in {IGNORE_FILE}"
                )


def _ignore_lines(home: Path) -> list[str]:
    try:
        return (home / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{home / IGNORE_FILE} cannot be read: {error}") from error


def _candidates(home: Path) -> Iterator[Path]:
    """Every file below a folder, without those of tools and environments. Links to folders are not followed."""
    for folder, folders, names in os.walk(home):
        folders[:] = sorted(name for name in folders if _holds_code(Path(folder, name)))
        yield from (Path(folder, name) for name in names if name != IGNORE_FILE)


def _holds_code(folder: Path) -> bool:
    machinery = folder.name.startswith(".") or folder.name in MACHINERY
    return not machinery and not (folder / "pyvenv.cfg").exists() and not NEVER.match_file(f"{folder.name}/")


def _lies_in(file: Path, home: Path) -> bool:
    """Whether it is a file of this folder, and not a link to somewhere else."""
    return file.is_file() and file.resolve().is_relative_to(home.resolve())


def _require_module(key: str, module: str, home: Path, files: Mapping[str, bytes]) -> None:
    """Raise SpecError when a module is found here but would not be found there."""
    source = find_source(module, home)
    for folder in dict.fromkeys([home.absolute(), Path.cwd()]):
        if source is None or not source.is_relative_to(folder) or _installed(module, source):
            continue
        path = source.relative_to(folder).as_posix()
        if folder != home.absolute():
            raise SpecError(
                f"{key} names {module}, which lies in {folder} and not beside the YAML file ({home}): move one to the "
                "other, so that it travels"
            )
        if path not in files:
            raise SpecError(
                f"{key} names {module}, but {path} does not travel: {IGNORE_FILE} or its own name says that it should "
                f"not, or it is larger than {MAX_FILE_BYTES // 2**20} MiB"
            )


def _installed(module: str, source: Path) -> bool:
    """Whether the module belongs to an installed package, which the cluster has as well: Ringmaster's own, for one."""
    return module.partition(".")[0] in {"trainers", "configs", "deploy", "orchestrator"} or (
        "site-packages" in source.parts
    )
