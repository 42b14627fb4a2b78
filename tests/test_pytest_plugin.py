"""What an installed iscsim gives to pytest, tried on small projects of their own."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import iscsim
from iscsim.capture import Recorder, pcap_ladder
from iscsim.faults.kinds import catalogue

pytest_plugins = ["pytester"]
catalogue()  # what pytester's runs import for the first time it forgets again, but not what that has changed

OURS = """
import asyncio
import pytest


@pytest.mark.asyncio
async def test_ours(iscsi_lab, iscsi_target, iscsi_initiator):
    async with iscsi_initiator.connect(iscsi_target) as session:
        assert bytes(await session.read(1, lba=0, blocks=1)) == bytes(512)
        await asyncio.sleep(3600)
    assert 3600 < iscsi_lab.now < 3601
"""
FOREIGN = """

@pytest.mark.asyncio
async def test_theirs():
    assert type(asyncio.get_running_loop()).__name__ == "{loop}"
    await asyncio.to_thread(int)
"""
REAL_LOOP = "_UnixSelectorEventLoop"
THEIR_LOOP = """
import asyncio


class TheirLoop(asyncio.SelectorEventLoop):
    pass


def pytest_asyncio_loop_factories(config, item):
    return {"theirs": TheirLoop}
"""
PLAIN = """
def test_plain(iscsi_lab, iscsi_target, iscsi_initiator):
    async def first_block():
        async with iscsi_initiator.connect(iscsi_target) as session:
            return bytes(await session.read(1, lba=0, blocks=1))

    assert iscsi_lab.run(first_block()) == bytes(512)
"""
AUTO = ("-o", "asyncio_mode=auto")


def run(pytester: pytest.Pytester, *options: str, xdist: bool = False) -> pytest.RunResult:
    """pytest in the directory of ``pytester``: without what this project configures."""
    scope = ("-o", "asyncio_default_fixture_loop_scope=function") if "no:asyncio" not in options else ()
    fixed = ("-W", "error", "-p", "no:cacheprovider", *(() if xdist else ("-p", "no:xdist")), *scope)
    if xdist:
        return pytester.runpytest_subprocess(*fixed, *options, timeout=60)
    return pytester.runpytest_inprocess(*fixed, *options)


# -- loops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_virtual_time_for_our_tests_and_nothing_for_theirs(pytester: pytest.Pytester, mode: str) -> None:
    pytester.makepyfile(OURS + FOREIGN.format(loop=REAL_LOOP) + PLAIN)
    run(pytester, "-o", f"asyncio_mode={mode}").assert_outcomes(passed=3)


def test_loops_of_another_plugin_stay_with_their_tests(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(THEIR_LOOP)
    pytester.makepyfile(OURS + FOREIGN.format(loop="TheirLoop"))
    run(pytester).assert_outcomes(passed=2)


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_loop_of_several_tests_is_the_one_of_their_labs(pytester: pytest.Pytester, scope: str) -> None:
    body = OURS.replace("< 3601", "< 7300").replace("mark.asyncio", f"mark.asyncio(loop_scope={scope!r})")
    pytester.makepyfile(body + body.partition("pytest\n")[2].replace("test_ours", "test_ours_again"))
    run(pytester).assert_outcomes(passed=2)


def test_plain_tests_need_no_pytest_asyncio(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLAIN, test_async=OURS.replace("@pytest.mark.asyncio", ""))
    result = run(pytester, "-p", "no:asyncio")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["an async test with iscsi_lab needs pytest-asyncio and *"])


def test_loop_that_has_no_virtual_time_is_named_as_the_reason(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import asyncio
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_asyncio_loop_factories(config, item):
            yield
            return {"real": asyncio.SelectorEventLoop}
        """
    )
    pytester.makepyfile(OURS)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["the loop of this test has no virtual time: *1.4 or newer*"])


def test_run_is_refused_where_a_test_can_await(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import asyncio\n\nasync def test_it(iscsi_lab):\n    iscsi_lab.run(asyncio.sleep(1))\n"
    )
    run(pytester, *AUTO).stdout.fnmatch_lines(["*RuntimeError: *await it here"])


def test_plugin_imports_nothing_heavy() -> None:
    heavy = "('iscsim.lab', 'iscsim.pdu', 'iscsim.scsi', 'iscsim.faults.engine', 'scapy', 'construct')"
    modules = "iscsim.pytest_plugin, iscsim.pytest_plugin.asynchronous"
    code = f"import {modules}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# -- what marks and options say --------------------------------------------------------------------------

SEEDED = """
import pytest


@pytest.mark.iscsim(seed=7)
@pytest.mark.parametrize("color", ["red", "green"])
async def test_it(iscsi_lab, color):
    assert (iscsi_lab.seed, iscsi_lab.network_name) == {expected}
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), (7, "memory")),
        (("--iscsim-seed=3",), (3, "memory")),
        (("--iscsim-network=tcp",), (7, "tcp")),
    ],
)
def test_options_go_before_the_seed_of_the_mark(
    pytester: pytest.Pytester, options: tuple[str, ...], expected: tuple[int, str]
) -> None:
    pytester.makepyfile(SEEDED.format(expected=expected))
    run(pytester, *AUTO, *options).assert_outcomes(passed=2)


def test_several_seeds_are_several_tests_each_replayed_by_its_seed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        SEEDED.format(expected=(4, "memory"))
        + "async def test_other(iscsi_lab):\n    assert iscsi_lab.seed != 5\n"
        + "def test_foreign():\n    pass\n"
    )
    result = run(pytester, *AUTO, "--iscsim-seed=3", "--iscsim-seeds=3", "-v")
    result.assert_outcomes(passed=5, failed=5)
    result.stdout.fnmatch_lines(
        [
            "*::test_it[[]red-seed4[]] PASSED*",
            "*::test_foreign PASSED*",
            "seed 3; again: pytest '*.py::test_it[[]red[]]' --iscsim-seed=3 -o *",
            "seed 5; again: pytest *.py::test_other --iscsim-seed=5 -o *",
        ]
    )


def test_mark_says_which_network_and_arms_its_faults_when_all_is_set_up(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import iscsim
        import pytest

        refused = {"name": "login.status", "class": 3, "detail": 1, "when": {"nth": [1]}}

        @pytest.fixture
        async def session(iscsi_initiator, iscsi_target):
            async with iscsi_initiator.connect(iscsi_target) as session:
                yield session

        @pytest.mark.iscsim(network="tcp", faults=[refused])
        async def test_it(session, iscsi_initiator, iscsi_target, iscsi_faults, make_iscsi_target):
            assert iscsi_faults.fired == []
            with pytest.raises(iscsim.LoginFailed):
                await iscsi_initiator.connect(iscsi_target)
            assert [firing.name for firing in iscsi_faults.fired] == ["login.status"]
            other = await make_iscsi_target(luns={4: "1M"}, portals=2)
            assert [unit.number for unit in await iscsi_initiator.scan(other, portal=1)] == [4]
        """
    )
    run(pytester, *AUTO).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("sed=7", "*unknown argument of @pytest.mark.iscsim 'sed'*did you mean 'seed'*"),
        ("7", "*@pytest.mark.iscsim takes names with values, not 7"),
        ("network='udp'", "*network is 'udp', expected 'memory' or 'tcp'"),
        (
            "faults=['net.refuses']",
            "@pytest.mark.iscsim(faults=...): unknown fault 'net.refuses' (*'net.refuse'?)",
        ),
    ],
)
def test_mark_with_a_mistake_says_which(pytester: pytest.Pytester, mark: str, message: str) -> None:
    pytester.makepyfile(
        f"import pytest\n\n@pytest.mark.iscsim({mark})\nasync def test_it(iscsi_lab):\n    pass\n"
    )
    result = run(pytester, *AUTO)
    assert result.ret != 0
    result.stdout.fnmatch_lines([message])


def test_no_seeds_at_all_is_a_mistake(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--iscsim-seeds=0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--iscsim-seeds is 0, expected 1 or more"])


MISTAKEN = """
import pytest


def arm(faults):
    faults("net.refuses")  # here


@pytest.fixture
def armed(iscsi_faults):
    {fixture}


async def test_it(armed, iscsi_faults):
    {body}
"""


@pytest.mark.parametrize("where", ["fixture", "body"])
def test_mistake_is_shown_at_its_line(pytester: pytest.Pytester, where: str) -> None:
    lines = {"fixture": "pass", "body": "pass"} | {where: "arm(iscsi_faults)"}
    pytester.makepyfile(MISTAKEN.format(**lines))
    result = run(pytester, *AUTO)
    result.stdout.fnmatch_lines(
        [
            ">*faults(*net.refuses*)*# here",
            "E *ConfigError: unknown fault 'net.refuses' (did you mean 'net.refuse'?)",
        ]
    )
    assert "iscsim/faults" not in result.stdout.str()
    assert "iscsim/faults" in run(pytester, *AUTO, "--full-trace").stdout.str()


def test_error_of_somebody_else_keeps_its_traceback(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "async def test_it(iscsi_lab):\n    await iscsi_lab.host('a').connect('iqn.x', 'x:y:z')\n"
    )
    run(pytester, *AUTO).assert_outcomes(failed=1)


def test_replay_line_works_where_pytest_was_started(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(**{"below/test_it": SEEDED.format(expected=(1, "memory"))})
    pytester.makeini("[pytest]")
    place = pytester.path / "elsewhere"
    place.mkdir()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *AUTO]
    options = {"cwd": place, "capture_output": True, "text": True, "timeout": 60}
    done: Any = subprocess.run([*command, "../below", "--iscsim-seeds=2"], check=False, **options)
    (line, _) = [line for line in done.stdout.splitlines() if line.startswith("seed 0; again: ")]
    assert (
        line
        == "seed 0; again: pytest '../below/test_it.py::test_it[red]' --iscsim-seed=0 -o asyncio_mode=auto"
    )
    words = shlex.split(line.partition("again: pytest ")[2])
    again: Any = subprocess.run([*command[:-2], *words], check=False, **options)
    assert (again.returncode, "1 failed" in again.stdout) == (1, True)


def test_what_pytest_prints_of_a_failed_seed_can_be_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SEEDED.format(expected=(4, "memory")))
    nodes = ["test_it.py::test_it[red-seed3]", "test_it.py::test_it[green-seed4]"]
    run(pytester, *AUTO, *nodes).assert_outcomes(passed=1, failed=1)


# -- judging a test that has passed ----------------------------------------------------------------------

JUDGED = {
    "iscsi_faults('net.refuse', portal=iscsi_target.portal)": [
        "fault net.refuse-1 (net.refuse) never fired: *"
    ],
    "await iscsi_initiator.connect(iscsi_target)": ["compute left a session behind: *"],
    "await garbage(iscsi_target.portal)": ["10.245.47.95:3260, peer *"],
    "await unanswered(iscsi_faults, await iscsi_initiator.connect(iscsi_target))": [
        "a task of compute without an answer: *",
        "compute left a session behind: *",
    ],
}
JUDGING = """
import asyncio


async def garbage(portal):
    host, port = portal.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(bytes([0x1F]) + bytes(47))
    assert await reader.read() == b""
    writer.close()


async def unanswered(faults, session):
    faults("task.no_response")
    asyncio.get_running_loop().reading = asyncio.ensure_future(session.read(1, lba=0, blocks=1))
    await asyncio.sleep(1)


async def test_it(iscsi_faults, iscsi_target, iscsi_initiator):
    {body}
    {stop}
"""


@pytest.mark.parametrize("body", list(JUDGED))
def test_passed_test_fails_for_what_it_left_wrong(pytester: pytest.Pytester, body: str) -> None:
    pytester.makepyfile(JUDGING.format(body=body, stop=""))
    result = run(pytester, *AUTO, "--tb=short")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_it*", *JUDGED[body]], consecutive=True)


@pytest.mark.parametrize("stop", ["assert False", "import pytest; pytest.skip('enough')"])
def test_test_that_came_to_no_end_is_not_judged(pytester: pytest.Pytester, stop: str) -> None:
    pytester.makepyfile(JUDGING.format(body=next(iter(JUDGED)), stop=stop))
    result = run(pytester, *AUTO)
    result.assert_outcomes(**({"failed": 1} if "assert" in stop else {"skipped": 1}))


def test_error_that_is_expected_fails_nobody(pytester: pytest.Pytester) -> None:
    body = "iscsi_faults.lab.expect_error('during login'); await garbage(iscsi_target.portal)"
    pytester.makepyfile(JUDGING.format(body=body, stop=""))
    run(pytester, *AUTO).assert_outcomes(passed=1)


# -- reports ---------------------------------------------------------------------------------------------

FAILING = """
import pytest


@pytest.mark.iscsim(seed=7)
async def test_fails(iscsi_target, iscsi_initiator, iscsi_faults):
    iscsi_faults("task.busy", command="READ (10)").nth(3)
    async with iscsi_initiator.connect(iscsi_target) as session:
        for lba in range(30):
            await session.read(1, lba=lba, blocks=1)


async def test_passes(iscsi_target, iscsi_initiator):
    async with iscsi_initiator.connect(iscsi_target):
        pass
"""


def test_failing_test_shows_its_seed_its_faults_and_what_was_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)
    result = run(pytester, *AUTO)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- iscsim -*",
            "seed 7; again: pytest test_*.py::test_fails --iscsim-seed=7 -o *",
            "faults that fired: 1; stopped at * s of the lab",
            "  0.* s fault task.busy [[]task.busy-1 #1[]]",
            "PDUs:",
            "[[]1[]] 10.245.46.10:* -> 10.245.47.95:3260",
            "*-> SCSI Command READ*",
            "*<- SCSI Response*BUSY*",
            "capture: *test_fails.pcapng",
        ]
    )
    (capture,) = [line.removeprefix("capture: ") for line in result.outlines if line.startswith("capture: ")]
    assert pcap_ladder(capture).count("READ (10)") == 3


LATE = """
import asyncio
import pytest


@pytest.mark.iscsim(seed=7)
async def test_first(iscsi_lab):
    await iscsi_lab.settle({wait})


@pytest.mark.iscsim(seed=7)
async def test_fails(iscsi_lab, iscsi_target, iscsi_initiator, iscsi_faults):
    await iscsi_lab.settle({wait})
    iscsi_faults("task.busy", command="READ (10)")
    iscsi_faults("task.delay", delay=0, command="INQUIRY")
    async with iscsi_initiator.connect(iscsi_target) as session:
        await session.inquiry(1)
        for lba in range(64):
            try:
                await session.read(1, lba=lba, blocks=1)
            except Exception:
                pass
        await session.inquiry(1)
        assert False
"""


@pytest.mark.parametrize("network", ["memory", "tcp"])
@pytest.mark.parametrize("scope", ["function", "module"])
def test_faults_and_pdus_are_on_one_clock_and_firings_are_summarised(
    pytester: pytest.Pytester, network: str, scope: str
) -> None:
    pytester.makepyfile(LATE.format(wait=100 if network == "memory" else 0.2))
    wider = ("-o", f"asyncio_default_test_loop_scope={scope}")
    result = run(pytester, *AUTO, *wider, f"--iscsim-network={network}")
    result.assert_outcomes(passed=1, failed=1)
    lines = result.outlines
    rows = lines[lines.index(next(line for line in lines if line.startswith("faults that fired: 66"))) + 1 :][
        :3
    ]
    (busy,) = [row for row in rows if "task.busy" in row]
    found = re.fullmatch(r"  ([\d.]+) s fault task.busy \[task.busy-1 #1\] x64, the last at ([\d.]+) s", busy)
    assert found is not None
    (answer,) = [line for line in lines if "SCSI Response" in line and "BUSY" in line][-1:]
    assert float(answer.split()[0]) == pytest.approx(float(found[2]), abs=0.05)
    assert float(found[1]) >= (100 if network == "memory" else 0.2)


def test_ladder_is_of_the_last_twenty_pdus(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING.replace("nth(3)", "nth(25)"))
    result = run(pytester, *AUTO)
    result.stdout.fnmatch_lines(["the last 20 of * PDUs:"])
    assert sum("[1] ->" in line or "[1] <-" in line for line in result.outlines) == 20


@pytest.mark.parametrize(
    ("keep", "kept"), [("on-failure", ["fails"]), ("always", ["fails", "passes"]), ("never", [])]
)
def test_captures_are_kept_as_asked(pytester: pytest.Pytester, keep: str, kept: list[str]) -> None:
    pytester.makepyfile(test_it=FAILING)
    result = run(pytester, *AUTO, f"--iscsim-pcap={keep}", "--iscsim-report-dir=reports/here")
    result.assert_outcomes(passed=1, failed=1)
    reports = pytester.path / "reports" / "here"
    assert sorted(path.name for path in reports.glob("*.pcapng")) == [
        f"test_it.py-test_{each}.pcapng" for each in kept
    ]
    report = (reports / "test_it.py-test_fails.txt").read_text()
    assert report.startswith("seed 7; again: ")
    assert (reports / "test_it.py-test_fails.jsonl").stat().st_size > 0


def test_workers_of_xdist_keep_out_of_each_other_s_way(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=FAILING)
    result = run(pytester, *AUTO, "-n", "2", "--dist=each", "--iscsim-report-dir=reports", xdist=True)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["seed 7; again: *", "PDUs:"])
    names = sorted(path.name for path in (pytester.path / "reports").glob("*.pcapng"))
    assert names == ["test_it.py-test_fails-gw0.pcapng", "test_it.py-test_fails-gw1.pcapng"]


# -- the capture for those who have no lab ---------------------------------------------------------------


async def test_capture_fixture_records_what_the_test_does(iscsi_capture: Recorder, tmp_path: Path) -> None:
    async with iscsim.serve(recorder=iscsi_capture) as target:
        async with iscsim.connect(target.portal, target.name, recorder=iscsi_capture) as session:
            await session.read(1, lba=0, blocks=1)
    ladder = pcap_ladder(tmp_path / "test_capture_fixture_records_what_the_test_does.pcapng")
    assert ladder.count("READ (10)") == 1  # both ends recorded, each PDU shown once


def test_failing_test_says_where_its_capture_is(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(iscsi_capture):\n    assert False")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*capture: *test_it.pcapng*"])


def test_host_of_a_test_takes_settings_and_logs_out_when_the_test_is_over(pytester: pytest.Pytester) -> None:
    pytest.importorskip("greenlet")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.iscsim(host={"first_scsi_host": 6})
        def test_plain(iscsi_lab, iscsi_target, iscsi_host):
            host = iscsi_host.host
            run = lambda *argv: iscsi_lab.run(host.execute(*argv))
            run("iscsiadm", "-m", "discovery", "-t", "st", "-p", iscsi_target.portal)
            run("iscsiadm", "-m", "node", "-l")
            assert list(host.kernel.adapters) == [6]

        async def test_async(iscsi_target, iscsi_host):
            host = iscsi_host.host
            await host.execute("iscsiadm", "-m", "discovery", "-t", "st", "-p", iscsi_target.portal)
            assert host.leftovers()[0].startswith("node ")
            assert await iscsi_host.call(max, 1, 2) == 2
        """
    )
    run(pytester, *AUTO).assert_outcomes(passed=2)


def test_unknown_setting_of_the_host_is_named(pytester: pytest.Pytester) -> None:
    pytest.importorskip("greenlet")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.iscsim(host={"udev_delay": 2})
        def test_it(iscsi_host):
            pass
        """
    )
    result = run(pytester, *AUTO)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*unknown setting 'udev_delay'*udev_delay_s*"])
