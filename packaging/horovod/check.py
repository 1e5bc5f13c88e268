"""Check that the installed Horovod loads and can reduce over Gloo; exit 1 with one line if not."""

import os
import sys

REBUILD = "Build it again: rm -rf .venv && make setup"


def main() -> None:
    """Load the extension as a single process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # it announces itself at any log level
    try:
        import horovod.tensorflow as hvd
    except Exception as error:  # a wrong build fails in many ways: a symbol, a library, a file
        sys.exit(f"Horovod is installed but does not load: {error!r}. {REBUILD}")
    if not hvd.gloo_built():
        sys.exit(f"Horovod was built without Gloo. Unset HOROVOD_WITHOUT_GLOO. {REBUILD}")
    hvd.init()
    if hvd.size() != 1:
        sys.exit(f"Horovod reports {hvd.size()} ranks in one process. Unset the HOROVOD_* variables.")
    hvd.shutdown()


main()
