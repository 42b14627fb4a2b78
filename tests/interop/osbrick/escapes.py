"""A program: a whole attach and detach in the sandbox, and what of the real machine was touched meanwhile.

Prints JSON lines: when (``import`` of os-brick, or ``sandbox``: from the first call to the last), an event of
the interpreter's audit hook, and what it was about.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

WATCHED = ("open", "os.", "subprocess.", "socket.", "shutil.", "tempfile.", "ctypes.", "pty.", "fcntl.")
NO_CALLS = ("os.walk", "os.fwalk", "os._walk", "socket.__new__")
"""Told by modules of Python's before they call anything, and so by our copies of them too."""
AT_IMPORT = ("subprocess.", "socket.connect")
OUR_PACKAGE = str(Path(__file__).parents[3] / "iscsim")
seen: dict[tuple[str, str, str], None] = {}
now = "import"


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what is touched; that modules are looked for and read is no escape."""
    about = repr(arguments[:2])[:200]
    if not now or not event.startswith(WATCHED) or event in NO_CALLS:
        return
    if now == "import" and not event.startswith(AT_IMPORT):
        return
    if not _is_of_python(str(arguments[0]) if arguments else ""):
        seen[now, event, about] = None


def _is_of_python(path: str) -> bool:
    whole = path.endswith((".py", ".pyc", ".so")) or path in sys.path or "/__pycache__" in path
    return whole or path.startswith(OUR_PACKAGE)


tempfile.gettempdir()
sys.addaudithook(watch)

from .arena import Story, connector, play  # noqa: E402

now = ""


async def story(s: Story) -> None:
    """All that a service calls."""
    global now
    now = "sandbox"
    await s.box.call(connector.get_connector_properties, "sudo", "10.245.47.10", True, True)
    device = await s.attach()
    await s.detach(device)
    now = ""


if __name__ == "__main__":
    play(story)
    print("\n".join(json.dumps(each) for each in seen))
