"""Every fuzz test says what it draws from."""

import pytest
from fuzz.fuzzing import SECONDS, SEED


@pytest.fixture(autouse=True)
def _show_seed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nISCSIM_FUZZ_SEED={SEED} ISCSIM_FUZZ_SECONDS={SECONDS:g}", end=" ", flush=True)
