"""What pytest gets from an installed iscsim: a storage world for each test, and its report when it fails.

Loaded by the entry point ``pytest11`` in every run of pytest, so nothing heavy is imported before a fixture
is used (docs/reference/pytest-plugin.md).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from iscsim.capture import Recorder
    from iscsim.host.sandbox.sandbox import HostSandbox
    from iscsim.lab import LabHost, LiveTarget
    from iscsim.pytest_plugin.world import Faults, PytestLab, TestWorld

LAB = "iscsi_lab"
"""The fixture that all others which have a world depend on: who has it is one of our tests."""
_ASYNCIO = ("asyncio", "pytest_asyncio", "pytest_asyncio.plugin")
_SEED = "_iscsim_seed"
_WORLD: pytest.StashKey[TestWorld] = pytest.StashKey()
_MARKER = (
    "iscsim(network='memory', seed=0, faults=(), host={}, packages=()): the world of iscsi_lab: 'memory' in"
    " virtual time or real 'tcp', the seed of all chance, faults to arm when the test begins; settings of"
    " iscsi_host, and packages beside os_brick whose code runs on it"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """See docs/reference/pytest-plugin.md."""
    group = parser.getgroup("iscsim")
    group.addoption("--iscsim-seed", type=int, metavar="N", help="the seed of every test that uses iscsi_lab")
    group.addoption(
        "--iscsim-seeds", type=int, metavar="N", help="run every such test N times, each with another seed"
    )
    group.addoption(
        "--iscsim-network", choices=("memory", "tcp"), help="the network of tests whose mark names none"
    )
    group.addoption(
        "--iscsim-pcap",
        choices=("on-failure", "always", "never"),
        default="on-failure",
        help="when to keep the capture of a test (default: on-failure)",
    )
    group.addoption(
        "--iscsim-report-dir",
        metavar="DIR",
        help="where captures, traces and reports go; without it captures go to the tmp_path of their test",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the mark; work with pytest-asyncio if it is there."""
    config.addinivalue_line("markers", _MARKER)
    count = config.getoption("--iscsim-seeds")
    if count is not None and count < 1:
        raise pytest.UsageError(f"--iscsim-seeds is {count}, expected 1 or more")
    if any(config.pluginmanager.hasplugin(name) for name in _ASYNCIO):
        from iscsim.pytest_plugin import asynchronous

        config.pluginmanager.register(asynchronous, "iscsim-asyncio")


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each seed of ``--iscsim-seeds``; last, so that the seed is the last part of its id."""
    count = metafunc.config.getoption("--iscsim-seeds")
    seeds: Sequence[int] = _asked_for(metafunc)
    if count is not None:
        first = metafunc.config.getoption("--iscsim-seed") or 0
        seeds = range(first, first + count)
    if seeds and LAB in metafunc.fixturenames:
        metafunc.fixturenames.append(_SEED)
        metafunc.parametrize(_SEED, seeds, ids=[f"seed{seed}" for seed in seeds], indirect=True)


def _asked_for(metafunc: pytest.Metafunc) -> list[int]:
    """The seeds in ``test_it.py::test_name[seed3]`` on the command line, as pytest prints what failed."""
    name = re.escape(metafunc.function.__name__)
    pattern = re.compile(rf"::{name}\[(?:.*-)?seed(\d+)\]\Z")
    return sorted({int(found[1]) for arg in metafunc.config.args if (found := pattern.search(arg))})


@pytest.fixture(name=_SEED)
def _iscsim_seed(request: pytest.FixtureRequest) -> int | None:
    """The seed of one of several runs of a test."""
    seed: int | None = getattr(request, "param", None)
    return seed


# -- worlds ----------------------------------------------------------------------------------------------


@pytest.fixture
def iscsi_lab(request: pytest.FixtureRequest) -> PytestLab:
    """The world of this test (`iscsim.Lab`), on the memory network in virtual time unless its mark says else.

    In a plain test ``iscsi_lab.run(coroutine)`` lets it go on. When the test has passed, a fault that never
    fired, an error nobody expected, a task without an answer and a session left behind make it fail.
    """
    lab: PytestLab = request.getfixturevalue(_lab_fixture(request))
    return lab


def _lab_fixture(request: pytest.FixtureRequest) -> str:
    """The fixture whose loop is that of the test."""
    function = getattr(request, "function", None)
    function = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    if not inspect.iscoroutinefunction(function):
        return "_iscsim_plain_lab"
    mark = request.node.get_closest_marker("asyncio")
    if mark is None or not request.config.pluginmanager.hasplugin("iscsim-asyncio"):
        pytest.fail(
            "an async test with iscsi_lab needs pytest-asyncio and @pytest.mark.asyncio or asyncio_mode=auto;"
            " a plain one can use iscsi_lab.run(coroutine)",
            pytrace=False,
        )
    from iscsim.pytest_plugin.asynchronous import fixture_of

    return fixture_of(mark, request.config)


@pytest.fixture
def _iscsim_plain_lab(request: pytest.FixtureRequest) -> Iterator[PytestLab]:
    """A lab on a loop of its own, which goes on while `PytestLab.run` runs."""
    import asyncio

    world = new_world(request)
    with asyncio.Runner(loop_factory=world.settings.loop_factory) as runner:
        loop = runner.get_loop()
        lab = loop.run_until_complete(world.begin())
        try:
            yield lab
        finally:
            problems = loop.run_until_complete(world.end())
    world.judge(problems)


def new_world(request: pytest.FixtureRequest) -> TestWorld:
    """What is to be the world of this test."""
    from iscsim.pytest_plugin.settings import settings_of
    from iscsim.pytest_plugin.world import TestWorld

    several = getattr(request.node, "callspec", None)
    settings = settings_of(request.node, several.params.get(_SEED) if several is not None else None)
    keeps = request.config.getoption("--iscsim-pcap") != "never"
    directory = request.config.getoption("--iscsim-report-dir")
    if directory is not None:
        place = request.config.invocation_params.dir / directory
    else:
        place = request.getfixturevalue("tmp_path") if keeps else None
    world = TestWorld(request.node, settings, place, keeps_report=directory is not None)
    request.node.stash[_WORLD] = world
    return world


@pytest.fixture
def make_iscsi_target(iscsi_lab: PytestLab) -> Callable[..., Awaitable[LiveTarget]]:
    """Serves targets until the test ends: ``await make_iscsi_target(luns={1: "1G"}, portals=2)``."""
    return iscsi_lab.target


@pytest.fixture
def iscsi_target(iscsi_lab: PytestLab) -> LiveTarget:
    """A target that is served, with one portal and 64 MiB at LUN 1."""
    target: LiveTarget = iscsi_lab.run(iscsi_lab.target())
    return target


@pytest.fixture
def iscsi_initiator(iscsi_lab: PytestLab) -> LabHost:
    """A host of the lab, ``compute``: its `connect`, `attach`, `discover` use the lab's network."""
    return iscsi_lab.host("compute")


@pytest.fixture
def iscsi_host(request: pytest.FixtureRequest, iscsi_lab: PytestLab) -> Iterator[HostSandbox]:
    """An emulated Linux host, ``compute``, on which os-brick is as long as the test runs.

    A plain test calls os-brick as ever, an async one ``await iscsi_host.call(brick.connect_volume, ...)``.
    ``iscsi_host.host`` is the `Host`: its `execute`, `leftovers`, `history`, `fail_command`.
    """
    from iscsim.pytest_plugin.host import sandboxed_host

    with sandboxed_host(iscsi_lab, request.node.stash[_WORLD].settings) as box:
        yield box


@pytest.fixture
def iscsi_faults(iscsi_lab: PytestLab) -> Faults:
    """Arms faults: ``iscsi_faults("net.refuse", portal=iscsi_target.portal).nth(1)``."""
    from iscsim.pytest_plugin.world import Faults

    return Faults(iscsi_lab)


@pytest.fixture
def iscsi_capture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recorder]:
    """A recorder for this test; hand it to ``iscsim.serve`` or ``iscsim.connect`` as ``recorder``.

    The file, named after the test, is in its ``tmp_path``; a failing test says where. A lab needs none: it
    has a capture of its own.
    """
    from iscsim.capture import real_time_recorder

    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    path = tmp_path / f"{name}.pcapng"
    request.node.add_report_section("setup", "iscsim", f"capture: {path}")
    with real_time_recorder(path) as recorder:
        yield recorder


# -- while a test runs -----------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Arm the faults of the mark when all is set up."""
    world = item.stash.get(_WORLD, None)
    if world is None:
        return (yield)
    world.arm()
    return (yield from _at_the_mistake(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """A mistake in a fixture is shown where it is."""
    return (yield from _at_the_mistake(item))


def _at_the_mistake(item: pytest.Item) -> Generator[None, Any, Any]:
    """What is written wrongly ends with its line, and not with ours that found it out (``--full-trace``)."""
    try:
        return (yield)
    except Exception as error:
        if item.stash.get(_WORLD, None) is not None and not item.config.getoption("fulltrace"):
            from iscsim.errors import ConfigError

            if isinstance(error, ConfigError):
                _forget_our_frames(error)
        raise


def _forget_our_frames(error: Exception) -> None:
    frame, last = error.__traceback__, None
    while frame is not None:
        if not frame.tb_frame.f_globals.get("__name__", "").startswith("iscsim."):
            last = frame
        frame = frame.tb_next
    if last is not None:
        last.tb_next = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a failing test says of its world; what a passing one leaves behind is taken away."""
    report = yield
    world = item.stash.get(_WORLD, None)
    if world is not None:
        world.stopped = world.stopped or call.excinfo is not None
        if report.failed:
            world.failed = True
            report.sections.append(("iscsim", world.describe()))
        if report.when == "teardown":
            world.tidy_up()
    return report
