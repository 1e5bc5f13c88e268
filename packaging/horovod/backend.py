"""PEP 517 build backend: fetch Horovod's source, check it, patch it, compile a wheel.

Fetches with pip, so mirrors and proxies set for pip are used. Knows nothing about Ringmaster.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from patches import apply_edits

VERSION = "0.28.1"
LOCAL_VERSION = "ringmaster.2"  # together the version in pyproject.toml
SDIST_SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
TENSORFLOW_VERSION = "2.21.0"

# Applied where the caller has set neither HOROVOD_WITH_x nor HOROVOD_WITHOUT_x.
DEFAULT_FEATURES = {
    "TENSORFLOW": "WITH",
    "GLOO": "WITH",
    "PYTORCH": "WITHOUT",
    "MXNET": "WITHOUT",
    "MPI": "WITHOUT",
}


def get_requires_for_build_wheel(config_settings=None):
    """Return the TensorFlow to compile against; it must be the one used at run time."""
    require_build_tools()
    if os.environ.get("HOROVOD_GPU_OPERATIONS"):
        return [f"tensorflow=={TENSORFLOW_VERSION}"]
    return [
        f"tensorflow-cpu=={TENSORFLOW_VERSION}; platform_machine == 'x86_64'",
        f"tensorflow=={TENSORFLOW_VERSION}; platform_machine != 'x86_64'",
    ]


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Build the wheel into `wheel_directory` and return its file name."""
    require_build_tools()
    out = Path(wheel_directory).resolve()
    with tempfile.TemporaryDirectory(prefix="horovod-build-") as folder:
        source = unpack(fetch_sdist(Path(folder)), Path(folder))
        apply_edits(source)
        compile_wheel(source, out)
    return next(out.glob("horovod-*.whl")).name


def require_build_tools():
    """Stop with one line that says what to install when a build tool is missing."""
    compilers = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    if not any(shutil.which(name) for name in compilers):
        sys.exit(
            f"Building Horovod needs a C++17 compiler; none of {', '.join(compilers)} was found. "
            "Install one, for example: apt-get install g++"
        )
    if not shutil.which("make"):
        sys.exit("Building Horovod needs make, which was not found. Install it: apt-get install make")


def fetch_sdist(folder):
    """Return the path of the source archive, its sha256 checked."""
    given = os.environ.get("HOROVOD_SDIST")
    sdist = Path(given) if given else download_sdist(folder)
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if digest != SDIST_SHA256:
        sys.exit(f"{sdist} has sha256 {digest}, expected {SDIST_SHA256}. Fetch Horovod {VERSION} again.")
    return sdist


def download_sdist(folder):
    """Download the source archive with pip, which refuses another hash before it opens it."""
    requirements = folder / "sdist.txt"
    requirements.write_text(f"horovod=={VERSION} --hash=sha256:{SDIST_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary=horovod", "--no-build-isolation", "--require-hashes"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    if subprocess.run(command, check=False).returncode:
        sys.exit(
            f"Could not download the source of Horovod {VERSION}; pip's message stands above. "
            "Without a network, set HOROVOD_SDIST to the path of its source archive."
        )
    return folder / f"horovod-{VERSION}.tar.gz"


def unpack(sdist, folder):
    """Unpack the archive and return the folder of the source tree."""
    shutil.unpack_archive(sdist, folder, "gztar")
    return folder / f"horovod-{VERSION}"


def compile_wheel(source, out):
    """Run Horovod's own setup.py in the patched tree."""
    command = [sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", str(out)]
    if subprocess.run(command, cwd=source, env=build_environment(os.environ), check=False).returncode:
        sys.exit("Horovod did not compile; the compiler's message stands above.")


def build_environment(caller):
    """Return the caller's environment with our defaults where it says nothing."""
    env = dict(caller)
    env["HOROVOD_LOCAL_VERSION"] = LOCAL_VERSION
    env.setdefault("MAKEFLAGS", f"-j{len(os.sched_getaffinity(0))}")
    for feature, choice in DEFAULT_FEATURES.items():
        if not {f"HOROVOD_WITH_{feature}", f"HOROVOD_WITHOUT_{feature}"} & env.keys():
            env[f"HOROVOD_{choice}_{feature}"] = "1"
    return env
