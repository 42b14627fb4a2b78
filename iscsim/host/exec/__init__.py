"""Unmodified programs on an emulated host: its commands, its files and its devices in a namespace of theirs.

`execution` brings it up; `server` answers the commands' stand-ins (`shim`); `export` keeps real files like the
model; `devices` fills those of disks; `layout`, `namespaces` and `enter` make them appear at their places.
"""

from iscsim.host.exec.execution import Execution, execute_program
from iscsim.host.exec.namespaces import NoNamespace

__all__ = ["Execution", "NoNamespace", "execute_program"]
