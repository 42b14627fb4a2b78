"""Unmodified programs on an emulated host: its commands, files and devices in a namespace of theirs.

`execution` brings it up; `server` answers the commands' stand-ins (`shim`); `export` keeps real files like
the model; `devices` fills those of disks; `layout`, `namespaces` and `enter` make them appear where they
belong; `program` runs the program.
"""

from iscsim.host.exec.execution import Execution, execute_program
from iscsim.host.exec.namespaces import NoNamespace

__all__ = ["Execution", "NoNamespace", "execute_program"]
