"""The script of docs/migration.md, as it stands there, on real ranks."""

import os
import re
import tempfile
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "migration.md"
INIT = False


def case_script_of_the_page():
    """Run the page's scripts in a folder of their own; return what they leave behind."""
    kept, told = os.getcwd(), []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for script in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
                names = {"__name__": "script"}
                exec(compile(script, PAGE.name, "exec"), names)
                hvd = names["hvd"]
                told.append(
                    {
                        "sha256": hvd.check_equal_weights(names["model"]),
                        "files": sorted(os.listdir(folder)),
                        "size": hvd.size(),
                    }
                )
        finally:
            os.chdir(kept)
    return told
