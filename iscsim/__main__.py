"""``python -m iscsim`` is the command ``iscsim``."""

import sys

try:
    from iscsim.cli import main

    main()
except KeyboardInterrupt:
    sys.exit(130)
