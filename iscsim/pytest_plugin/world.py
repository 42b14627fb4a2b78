"""The world of one test: what its mark and the options say, its lab, its files, its report."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from iscsim.errors import ConfigError
from iscsim.faults.engine import Firing
from iscsim.faults.rule import FaultRule
from iscsim.lab import Lab
from iscsim.net.virtual_loop import VirtualLoop
from iscsim.pytest_plugin.settings import Settings

__all__ = ["Faults", "PytestLab", "TestWorld"]

Result = TypeVar("Result")
_NO_VIRTUAL_TIME = (
    "the loop of this test has no virtual time: that needs pytest-asyncio 1.4 or newer and no other plugin's"
    " loop; a plain test can use iscsi_lab.run(coroutine), and @pytest.mark.iscsim(network='tcp') real time"
)


class PytestLab(Lab):
    """The `iscsim.Lab` of a test, which pytest opens and closes."""

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:  # type: ignore[override]
        """In a plain test: run ``work`` on the loop of the lab, and give what it returns.

        `Lab.run`, which makes a lab for a function, is for programs; here the lab is there already.
        """
        if self.loop.is_running():
            work.close()
            raise RuntimeError("iscsi_lab.run is for tests that are no coroutines: await it here")
        return self.loop.run_until_complete(work)


class Faults:
    """Arms faults in a lab when it is called, as `iscsim.Lab.fault` does: see docs/reference/faults/."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.engine = lab, lab.faults

    def __call__(self, name: str, /, **given: Any) -> FaultRule:
        """Arm a fault; ``given`` are its parameters and what it has to match. Raises `ConfigError`."""
        return self.lab.fault(name, **given)

    @property
    def fired(self) -> list[Firing]:
        """Each time a fault fired, in order."""
        return list(self.engine.firings)

    def heal(self) -> None:
        """Take every fault away, and make good what it did."""
        self.lab.heal()

    def __repr__(self) -> str:
        return f"Faults({', '.join(self.engine.rules)})"


class TestWorld:
    """A lab from the beginning of its test to the last word on it; ``place`` is where its files go."""

    __test__ = False  # not a class of tests

    def __init__(
        self, item: pytest.Item, settings: Settings, place: Path | None, *, keeps_report: bool
    ) -> None:
        self.item, self.settings = item, settings
        self.stopped = self.failed = False
        """Whether the test has not come to its end (skipped ones neither), and whether it failed."""
        self._keeps_report = keeps_report
        self._path = place / _file_name(item) if place is not None else None
        keeps_pcap = item.config.getoption("--iscsim-pcap") != "never"
        self.pcap = self._file(".pcapng") if keeps_pcap else None
        self.trace = self._file(".jsonl") if keeps_report else None
        self.lab: PytestLab | None = None

    def _file(self, suffix: str) -> Path | None:
        return self._path.with_name(self._path.name + suffix) if self._path is not None else None

    async def begin(self) -> PytestLab:
        """Open the lab on the running loop."""
        if self.settings.is_virtual and not isinstance(asyncio.get_running_loop(), VirtualLoop):
            pytest.fail(_NO_VIRTUAL_TIME, pytrace=False)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        network: Any = self.settings.network
        self.lab = PytestLab(network, seed=self.settings.seed, pcap=self.pcap, trace=self.trace, judge=False)
        self.item.user_properties.append(("iscsim_seed", self.settings.seed))
        return await self.lab.__aenter__()

    def arm(self) -> None:
        """Arm the faults of the mark."""
        if self.lab is None:
            return
        mistake = ""
        try:
            for fault in self.settings.faults:
                self.lab.add_fault({"name": fault} if isinstance(fault, str) else fault)
        except ConfigError as error:
            mistake = f"@pytest.mark.iscsim(faults=...): {error}"
        if mistake:
            pytest.fail(mistake, pytrace=False)

    async def end(self) -> list[str]:
        """Close the lab; what was wrong, unless the test did not come to its end: then it is of no matter."""
        assert self.lab is not None
        problems: list[str] = []
        try:
            if not self.stopped:
                await self.lab.settle()
                problems = [*self.lab.problems(), *self.lab.unfired()]
        finally:
            await self.lab.__aexit__(None, None, None)
        return problems

    def judge(self, problems: list[str]) -> None:
        """Fail the test for these."""
        if problems:
            pytest.fail("\n".join(problems), pytrace=False)

    def describe(self) -> str:
        """What a failing test says of its world."""
        from iscsim.pytest_plugin.report import describe

        text = describe(self)
        report = self._file(".txt") if self._keeps_report else None
        if report is not None:
            report.write_text(text + "\n", encoding="utf-8")
        return text

    def tidy_up(self) -> None:
        """Take away what nobody wants to see."""
        if self.failed or self.item.config.getoption("--iscsim-pcap") == "always":
            return
        for path in (self.pcap, self.trace):
            if path is not None:
                path.unlink(missing_ok=True)


def _file_name(item: pytest.Item) -> str:
    """After the test; under xdist with the worker, as each of them may run every test (``--dist each``)."""
    worker = getattr(item.config, "workerinput", {}).get("workerid", "")
    name = re.sub(r"[^\w.-]+", "-", item.nodeid.removesuffix("]")).strip("-")[-180:]
    return f"{name}-{worker}" if worker else name
