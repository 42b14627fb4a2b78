"""The tag of a test that proves what an RFC asks: ``@rfc("7143", "4.2.2.1", row=2)``.

The RFC's number, sections, and the row or rows of ``conformance/checklist.toml``. ``side="initiator"`` or
``"both"`` is said where the room of the test does not say it; ``conformance/tags.py`` reads all this.
"""

import pytest

rfc = pytest.mark.rfc
