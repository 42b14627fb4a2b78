"""Executables that stand in for cinder-rtstool and sudo on a PATH, so that Cinder need not be changed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SHADOW", "lay"]

ROOT = Path(__file__).resolve().parents[3]
SHADOW = Path(__file__).resolve().parent / "shadow"
"""What goes on PYTHONPATH for the real cinder-rtstool to run on iscsim: a package ``rtslib_fb``."""

_TOOL = """\
#!{python} -I
# Written by "iscsim rtstool shims": cinder-rtstool, but for a running iscsim.
import sys

sys.path.insert(0, {root!r})
from iscsim.openstack.rtstool.command import main

sys.exit(main(control={control!r}))
"""
_SUDO = """\
#!/bin/sh
# Written by "iscsim rtstool shims": runs cinder-rtstool as whoever calls it, and nothing else.
while [ $# -gt 0 ]; do
    case $1 in
        -u | cinder-rootwrap | */cinder-rootwrap)
            [ $# -gt 1 ] || break
            shift 2 ;;
        -n | -E | -H | --) shift ;;
        env) shift ;;
        LANG=* | LC_ALL=* | LC_MESSAGES=* | ISCSIM_CONTROL=* | ISCSIM_SAVECONFIG=*)
            export "$1"; shift ;;
        *=*) shift ;; # as the real one: what could make a program run something else does not reach it
        cinder-rtstool | */cinder-rtstool | iscsim-rtstool | */iscsim-rtstool)
            shift
            exec {tool} "$@" ;;
        *)
            echo "sudo: the one of iscsim runs cinder-rtstool, not $1" >&2
            exit 1 ;;
    esac
done
echo "sudo: the one of iscsim runs cinder-rtstool, and no command was given" >&2
exit 1
"""


def lay(directory: str | Path, *, control: str | None = None) -> Iterator[Path]:
    """Write the executables ``cinder-rtstool`` and ``sudo`` into ``directory``, made if need be.

    ``control`` is the socket they use when $ISCSIM_CONTROL names none. Raises OSError.
    """
    place = Path(directory).absolute()
    place.mkdir(parents=True, exist_ok=True)
    tool = place / "cinder-rtstool"
    socket = os.path.abspath(control) if control else None
    yield _write(tool, _TOOL.format(python=sys.executable, root=str(ROOT), control=socket))
    yield _write(place / "sudo", _SUDO.format(tool=shlex.quote(str(tool))))


def _write(path: Path, text: str) -> Path:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.chmod(0o755)
    beside.replace(path)
    return path
