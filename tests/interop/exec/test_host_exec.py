"""Programs we did not write on an emulated host, in real namespaces, as a user without rights."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

WWID = "36006016015e03a00ab2df25bb82d0ea9"
LOGIN = "iscsiadm -m discovery -t st -p 10.245.47.95 >/dev/null; iscsiadm -m node -l >/dev/null"
MAP = f"/dev/mapper/{WWID}"
START = "import sys; sys.argv[0] = 'iscsim'; from iscsim.cli import main; main()"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
OS_BRICK = Path(__file__).with_name("os_brick_program.py")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def readable_python(paths: str) -> str:
    """A Python that nobody may run, with all that iscsim needs."""
    for python in (sys.executable, "/usr/bin/python3"):
        check = [*NOBODY, "env", f"PYTHONPATH={paths}", python, "-c", "import iscsim.cli"]
        if shutil.which("setpriv") and subprocess.run(check, capture_output=True, timeout=60).returncode == 0:
            return python
    pytest.skip("tests run as root, and there is no Python here that nobody may run iscsim with")


class Exec:
    """``iscsim host exec``, as nobody if we are root."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        paths = ":".join(each for each in sys.path if each.startswith("/"))
        self.environment = {
            "PATH": f"{os.environ.get('ISCSIM_TEST_PATH', '')}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
            "PYTHONPATH": paths,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
            "TMPDIR": str(temporary),
            "HOME": str(temporary),
        }
        root = os.getuid() == 0
        self.prefix = NOBODY if root else []
        self.python = readable_python(paths) if root else sys.executable
        if root:
            os.chown(temporary, 65534, 65534)

    def command(self, *words: str) -> list[str]:
        return [*self.prefix, self.python, "-c", START, "host", "exec", *words]

    def __call__(self, *words: str, code: int | None = 0, **extra: str) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            self.command(*words),
            env=self.environment | extra,
            cwd=self.temporary,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert code is None or ended.returncode == code, ended.stdout + ended.stderr
        return ended

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words), env=self.environment, stdout=subprocess.PIPE, text=True, cwd=self.temporary
        )


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory others may get to, unlike pytest's."""
    path = Path("/tmp") / f"iscsim-exec-{os.getpid()}-{time.monotonic_ns()}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


REASONS: dict[tuple[str, ...], str] = {}
"""Why this machine does not allow it, by options; empty when it does."""


def skip_unless_allowed(host_exec: Exec, *words: str) -> None:
    if words not in REASONS:
        trial = host_exec(*words, "--", "true", code=None)
        REASONS[words] = trial.stderr.strip() if trial.returncode == 3 else ""
    if REASONS[words]:
        pytest.skip(REASONS[words])


@pytest.fixture
def host_exec(temporary: Path) -> Iterator[Exec]:
    """Skips where the kernel forbids; whatever happens, nothing is left behind."""
    found = Exec(temporary)
    skip_unless_allowed(found)
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    yield found
    assert [each.name for each in temporary.iterdir() if each.name.startswith("iscsim-host")] == []
    left = set(os.listdir("/dev/shm")) - before if before or os.path.isdir("/dev/shm") else set()
    assert [each for each in left if each.startswith("iscsim-host")] == []


@pytest.fixture(params=["unshare", "bwrap", "proot"])
def way(request: pytest.FixtureRequest, host_exec: Exec) -> Sequence[str]:
    words = ("--way", request.param)
    skip_unless_allowed(host_exec, *words)
    return [*words, "--"]


def test_a_shell_attaches_and_reads(host_exec: Exec, way: Sequence[str]) -> None:
    ended = host_exec(*way, "sh", "-c", f"{LOGIN}; multipath -ll; dd if={MAP} bs=4k count=1 | md5sum")
    lines = ended.stdout.splitlines()
    assert lines[0].startswith(f"{WWID} dm-0 DGC,")
    assert sum("active ready running" in line for line in lines) == 2
    assert lines[-1] == "620f0b67a91f7f74151bc5be745b7110  -"


def test_the_exit_code_is_the_programs(host_exec: Exec, way: Sequence[str]) -> None:
    host_exec(*way, "sh", "-c", "exit 9", code=9)
    host_exec(*way, "sh", "-c", "iscsiadm -m session", code=21)


def test_a_program_there_is_not(host_exec: Exec) -> None:
    assert "no-such-program" in host_exec("--", "no-such-program", code=127).stderr


def test_devices_of_the_machine_work(host_exec: Exec, way: Sequence[str]) -> None:
    script = (
        "echo x > /dev/null; for each in zero random urandom; do head -c 5 /dev/$each | wc -c; done;"
        " echo shared > /dev/shm/iscsim-$$; cat /dev/shm/iscsim-$$; rm /dev/shm/iscsim-$$;"
        " ls /dev/fd/1; test -c /dev/tty && echo tty"
    )
    ended = host_exec(*way, "sh", "-c", script)
    assert ended.stdout.split() == ["5", "5", "5", "shared", "/dev/fd/1", "tty"]


def test_new_terminals_can_be_opened(host_exec: Exec) -> None:
    host_exec(
        "--", sys.executable if not host_exec.prefix else host_exec.python, "-c", "import os; os.openpty()"
    )


def test_it_is_root_of_another_host(host_exec: Exec) -> None:
    assert host_exec("--", "sh", "-c", "id -u; hostname; ls /sys").stdout.split() == [
        *("0", "newton"),
        *("block", "bus", "class"),
    ]


def test_commands_are_where_programs_look(host_exec: Exec, way: Sequence[str]) -> None:
    script = f"{LOGIN}; /lib/udev/scsi_id --page 0x83 --whitelisted /dev/dm-0 || true"
    host_exec(*way, "sh", "-c", script)
    ended = host_exec(
        *way, "sh", "-c", "grep -c -F node.session.scan /sbin/iscsiadm; sudo -n iscsiadm -m node", code=21
    )
    assert ended.stdout.strip() in ("1", "2")


def test_a_redirection_to_sysfs_acts(host_exec: Exec, way: Sequence[str]) -> None:
    script = f"{LOGIN}; echo 1 > /sys/block/sdd/device/delete; lsscsi | grep -c sdd"
    assert host_exec(*way, "sh", "-c", script, code=1).stdout == "0\n"


def test_direct_opens_read_and_write_the_unit(host_exec: Exec, way: Sequence[str], temporary: Path) -> None:
    script = (
        f"{LOGIN}; printf written > {MAP}; dd if=/dev/sdc bs=7 count=1 status=none; head -c 7 /dev/dm-0;"
        f" wc -c < {MAP}"
    )
    assert host_exec(*way, "sh", "-c", script).stdout == "writtenwritten67108864\n"


def test_qemu_img_converts_the_map(host_exec: Exec, temporary: Path) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is missing: apt install qemu-utils")
    script = (
        f"{LOGIN}; head -c 3000000 /dev/urandom > random; dd if=random of={MAP} bs=64k;"
        f" qemu-img convert -f raw -O raw nbd:unix:$ISCSIM_NBD:exportname={WWID} map.img;"
        f" qemu-img convert -f raw -O raw nbd:unix:$ISCSIM_NBD:exportname=sdc disk.img;"
        f" dd if={MAP} of=dd.img bs=1M; cp {MAP} cp.img;"
        " for each in dd disk cp; do cmp map.img $each.img; done;"
        " cmp -n 3000000 map.img random; stat -c %s map.img"
    )
    assert host_exec("--", "sh", "-ec", script).stdout == f"{64 << 20}\n"


def test_twenty_shims_at_once(host_exec: Exec) -> None:
    script = f"{LOGIN}; for i in $(seq 20); do multipath -ll & done | grep -c dm-0; wait"
    assert host_exec("--", "sh", "-c", script).stdout == "20\n"


# -- ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(host_exec: Exec, temporary: Path, number: signal.Signals) -> None:
    running = host_exec.start("--", "sh", "-c", "sleep 1000 & echo $!; exec sleep 1000")
    assert running.stdout is not None
    background = int(running.stdout.readline())
    running.send_signal(number)
    assert running.wait(timeout=60) == 128 + number
    running.stdout.close()
    with pytest.raises(ProcessLookupError):
        os.kill(background, 0)


def test_what_is_left_running_goes(host_exec: Exec) -> None:
    process = int(host_exec("--", "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $!").stdout)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_killed_program(host_exec: Exec) -> None:
    host_exec("--", "sh", "-c", "kill -9 $$", code=137)


# -- os-brick --------------------------------------------------------------------------------------------


def os_brick_python() -> str:
    named = os.environ.get("ISCSIM_OSBRICK_PYTHON")
    if named is None and importlib.util.find_spec("os_brick") is None:
        pytest.skip(
            "os-brick is missing (iscsim[osbrick]), and ISCSIM_OSBRICK_PYTHON names no Python that has it"
        )
    return named or sys.executable


@pytest.mark.parametrize("kind", ["multipath", "single"])
def test_os_brick_attaches_and_detaches(
    host_exec: Exec, way: Sequence[str], kind: str, temporary: Path
) -> None:
    python = os_brick_python()
    site = subprocess.run(
        [python, "-c", "import os_brick, os; print(os.path.dirname(os.path.dirname(os_brick.__file__)))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    inside = host_exec.python if host_exec.prefix else python
    words = ["env", f"PYTHONPATH={site}", inside, shutil.copy(OS_BRICK, temporary), kind, str(temporary)]
    ended = host_exec(*way, "sh", "-c", f"{shlex.join(words)} && iscsiadm -m session; multipath -ll", code=0)
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["properties"]["initiator"] == "iqn.1993-08.org.debian:01:7cc8838d1c0"
    path = "/dev/dm-0" if kind == "multipath" else "/dev/sda"
    assert (found["device"]["path"], found["device"]["scsi_wwn"]) == (path, WWID)
    assert len(found["paths"]) == (2 if kind == "multipath" else 1)
    assert found["size"] == found["extended"] == 64 << 20
    assert found["left"] == []
    assert "No active sessions" in ended.stderr
