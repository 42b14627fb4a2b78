"""The command line: ``iscsim COMMAND``."""

from iscsim.cli.app import main

__all__ = ["main"]
