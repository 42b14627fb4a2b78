"""The list of commands, and how the application ends."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from iscsim import __version__

COMMANDS = "demo serve discover luns inquiry read write login sessions rescan logout attach detach".split()


def test_version_is_shown(cli: Any) -> None:
    done = cli("--version")
    assert (done.code, done.stdout, done.stderr) == (0, f"iscsim {__version__}\n", "")


def test_only_the_module_of_the_command_is_loaded() -> None:
    code = (
        "import sys\nfrom iscsim.cli import main\ntry:\n    main(['luns', '--help'])\nexcept SystemExit:\n"
        "    print([name for name in sys.modules if name.startswith('iscsim.cli.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = done.stdout.splitlines()[-1]
    assert "'iscsim.cli.initiator'" in loaded
    assert [
        name for name in ("serve", "target", "sessions", "load") if f"'iscsim.cli.{name}'" in loaded
    ] == []


def test_a_command_that_is_nearly_right_is_suggested(cli: Any) -> None:
    cli("lunz").assert_failed(2, "Did you mean 'luns'?")


def test_no_command_shows_the_list_and_is_a_usage_error(cli: Any) -> None:
    done = cli()
    assert (done.code, done.output) == (2, b"")
    assert done.stderr.startswith("Usage: ")
    assert [command for command in COMMANDS if f"\n  {command}  " not in done.stderr] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_whose_first_line_is_not_cut(cli: Any, command: str) -> None:
    done = cli(command, "--help")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: iscsim {command} ")
    (listed,) = [line for line in cli("--help").stdout.splitlines() if line.startswith(f"  {command}  ")]
    assert "..." not in listed
    assert listed.split(maxsplit=1)[1] in done.stdout


@pytest.mark.parametrize(
    "command", ["demo", "serve", "discover", "luns", "inquiry", "read", "write", "attach"]
)
def test_help_shows_an_example_on_lines_of_its_own(cli: Any, command: str) -> None:
    assert f"\n    iscsim {command} " in cli(command, "--help").stdout


@pytest.mark.parametrize(
    "arguments, what",
    [
        (["nothing"], "No such command 'nothing'"),
        (["--nothing"], "No such option: --nothing"),
        (["serve", "--nothing"], "--nothing (see iscsim serve --help)"),
        (["serve", "--lun"], "'--lun' requires an argument"),
        (["read", "127.0.0.1:1", "iqn.2026-11.test:x"], "Missing argument 'LUN'"),
        (["read", "127.0.0.1:1", "iqn.2026-11.test:x", "one"], "'LUN'"),
        (["read", "127.0.0.1:1", "iqn.2026-11.test:x", "-1"], "No such option"),
        (["read", "127.0.0.1:1", "iqn.2026-11.test:x", "1", "--blocks", "0"], "'--blocks'"),
        (["read", "127.0.0.1:1", "iqn.2026-11.test:x", "1", "--lba", str(1 << 64)], "'--lba'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(cli: Any, arguments: list[str], what: str) -> None:
    cli(*arguments).assert_failed(2, what)


def test_python_m_iscsim_is_the_command(cli: Any) -> None:
    done = cli.spawn("--version")
    assert (done.code, done.stdout) == (0, f"iscsim {__version__}\n")


def test_heavy_modules_are_not_imported_for_help(cli: Any) -> None:
    check = (
        "import sys, iscsim.cli.app\n"
        "print([name for name in ('construct', 'rich.table', 'uvloop', 'iscsim.target.server',"
        " 'iscsim.initiator.client', 'iscsim.capture') if name in sys.modules])"
    )
    done = subprocess.run([*cli.command()[:3], "-c", check], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_reader_that_has_had_enough_is_no_traceback(cli: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(cli.command("--help"), stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_interrupt_while_the_commands_are_loaded_is_silent() -> None:
    program = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'iscsim.cli.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from iscsim.cli import main\n"
        "main([])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
