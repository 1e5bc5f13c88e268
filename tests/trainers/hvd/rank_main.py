"""One rank process: runs the cases of a file in order and writes what each returned or raised, as
JSON.
"""

import faulthandler
import importlib.util
import json
import signal
import sys
import traceback
from pathlib import Path

from trainers import hvd

faulthandler.register(signal.SIGUSR1)


def main(cases: str, answers_path: str, only: str) -> None:
    sys.path.insert(0, str(Path(cases).parent))
    spec = importlib.util.spec_from_file_location("cases", cases)
    module = importlib.util.module_from_spec(spec)
    sys.modules["cases"] = module
    spec.loader.exec_module(module)
    if getattr(module, "INIT", True):
        hvd.init()
    answers = {}
    for name in [only] if only else [n for n in vars(module) if n.startswith("case_")]:
        try:
            answers[name] = {"value": getattr(module, name)()}
        except Exception as error:
            traceback.print_exc()
            answers[name] = {"error": [type(error).__name__, str(error)]}
        Path(answers_path).write_text(json.dumps(answers))
        if "error" in answers[name]:
            # The other ranks may wait in a collective this rank never joined: what follows would
            # prove nothing.
            sys.exit(3)


main(*sys.argv[1:])
