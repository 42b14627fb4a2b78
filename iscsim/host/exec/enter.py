"""Runs inside new namespaces, before the program: mounts the host over the machine's own, then becomes it.

``enter.py PLAN.json PROGRAM [ARGUMENT]...``; without a program it says by its exit code whether it can. It is
executed by its path with nothing but the standard library; `iscsim.host.exec.layout` writes the plan:

    binds      [source, destination] pairs, in order; each destination exists
    filled     directories that get further entries: {directory: {name: source}}
    hostname   the host's name, if there is a namespace for it
    terminals  a directory for a devpts of its own
    stage      a directory to work in
"""

import ctypes
import json
import os
import shutil
import sys

_BIND, _RECURSIVE = 4096, 16384
_PARENT_DIES = 1
_SIGKILL = 9
FAILED = 125
"""The exit code for what is not possible here; the reason is on stderr."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _mount(source: str, destination: str, kind: str, flags: int, data: str = "") -> None:
    encoded = [os.fsencode(each) for each in (source, destination, kind)]
    _checked(_libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data)), destination)


def _bind(source: str, destination: str) -> None:
    _mount(source, destination, "none", _BIND | _RECURSIVE)


def _place_for(source: str, destination: str) -> None:
    """An empty file or directory to mount ``source`` on."""
    if os.path.isdir(source):
        os.mkdir(destination)
    else:
        os.close(os.open(destination, os.O_CREAT | os.O_WRONLY, 0o600))


def _fill(directory: str, added: dict[str, str], stages: str) -> None:
    """Make ``directory`` one that has everything it has, and what is ``added``."""
    stage = os.path.join(stages, directory.strip("/").replace("/", "-"))
    os.makedirs(stage, exist_ok=True)
    _mount("iscsim", stage, "tmpfs", 0, "mode=755")
    for entry in os.scandir(directory):
        place = os.path.join(stage, entry.name)
        if entry.name in added:
            continue
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)
        elif entry.is_dir() or entry.is_file():
            _place_for(entry.path, place)
            _bind(entry.path, place)
    for name, source in added.items():
        _place_for(source, os.path.join(stage, name))
        _bind(source, os.path.join(stage, name))
    _bind(stage, directory)


def _terminals(directory: str) -> None:
    """Pseudo-terminals of our own, or those of the machine."""
    try:
        _mount("devpts", directory, "devpts", 0, "newinstance,ptmxmode=0666,mode=620")
    except OSError:
        _bind("/dev/pts", directory)


def enter(plan: dict) -> None:  # type: ignore[type-arg]
    """Carry a plan out. Raises OSError."""
    _libc.prctl(_PARENT_DIES, _SIGKILL, 0, 0, 0)
    _terminals(plan["terminals"])
    for directory, added in plan["filled"].items():
        _fill(directory, added, plan["stage"])
    for source, destination in plan["binds"]:
        _bind(source, destination)
    name = os.fsencode(plan["hostname"])
    if name and _libc.sethostname(name, len(name)):
        print("iscsim: the host's name stays this machine's", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """See the module's text."""
    with open(arguments[0], encoding="utf-8") as file:
        plan = json.load(file)
    try:
        enter(plan)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return FAILED
    return become(arguments[1:])


def become(words: list[str]) -> int:
    """Be the program; an exit code as a shell gives it if there is none."""
    if not words:
        return 0
    try:
        os.execvp(words[0], words)
    except OSError as error:
        print(f"iscsim: {words[0]}: {error.strerror}", file=sys.stderr)
        return 127 if shutil.which(words[0]) is None else 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
