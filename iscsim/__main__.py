"""``python -m iscsim`` is the command ``iscsim``."""

from iscsim.cli import main

main()
