"""Unmodified os-brick on an emulated host, in this process: every command, file, sleep and thread of it."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from iscsim.errors import ConfigError
from iscsim.host.sandbox.bridge import Bridge
from iscsim.host.sandbox.clones import Clones, Rebinding
from iscsim.host.sandbox.files import Files
from iscsim.host.sandbox.processes import subprocess_for
from iscsim.host.sandbox.threads import threading_for

if TYPE_CHECKING:
    from iscsim.host.model import Host

__all__ = ["HostSandbox"]

Result = TypeVar("Result")
EPOCH = 1_485_000_000.0
"""What ``time.time()`` says at the beginning: a day of 2017, when Newton was new."""
_CLONED = (
    "oslo_utils.timeutils",
    "oslo_utils.netutils",
    "oslo_concurrency.processutils",
    "oslo_concurrency.lockutils",
    "retrying",
)
"""Libraries of os-brick's that wait, run programs or look at files; a missing one is not missed."""
_LOCK_PATH = "/run/lock/iscsim"
"""Where locks between processes would be: there are no other processes on the host."""
_PLAIN = (bool, int, str, type(None))


class HostSandbox:
    """A context in which os-brick is on ``host``; nothing outside of ``packages`` is changed.

    Blocking calls are made through :meth:`call` from a coroutine, or directly where no loop runs; then
    ``loop`` is the one they run on. ``seed`` is for os-brick's own dice.

    Raises:
        ConfigError: greenlet or none of the packages is installed.
    """

    def __init__(
        self,
        host: Host,
        *,
        packages: tuple[str, ...] = ("os_brick",),
        loop: asyncio.AbstractEventLoop | None = None,
        seed: int = 0,
    ) -> None:
        self.host, self.packages, self.seed = host, packages, seed
        self._loop = loop
        self._rebinding: Rebinding | None = None
        self._undo: list[Callable[[], None]] = []

    # -- the context -------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        loop = self._loop or asyncio.get_running_loop()
        self.bridge = Bridge(loop)
        self.clones = self._make_clones()
        self._load()
        self._rebinding = Rebinding(self.clones)
        try:
            for module in self._modules():
                self._remember(module)
                self._rebinding.bind(module)
            self._stay_in_process()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._rebinding is not None:
            self._rebinding.undo()
        while self._undo:
            self._undo.pop()()
        for task in list(self.bridge.tasks):
            task.cancel()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)
        await asyncio.gather(*self.bridge.tasks, return_exceptions=True)

    async def call(self, function: Callable[..., Result], /, *args: Any, **options: Any) -> Result:
        """Call blocking code of the packages; what it raises is raised here."""
        return await self.bridge.run(function, *args, **options)

    @property
    def threads(self) -> int:
        """How many threads and commands of blocking code have not ended."""
        return len(self.bridge.tasks)

    # -- what is different in here -----------------------------------------------------------------

    def _make_clones(self) -> Clones:
        files = Files(self.host)
        clones = Clones(files.open_file)
        for name, module in self._made():
            clones.add(name, module)
        clones.reserve("os")  # these three import each other
        clones.clone("genericpath")
        clones.add("os.path", clones.clone("posixpath"))
        clones.clone("os", files.install)
        clones.clone("fnmatch")
        clones.clone("glob")
        for name in _CLONED:
            try:
                clones.clone(name)
            except ImportError:
                continue
        self._keep_locks_here(clones)
        return clones

    def _made(self) -> Iterator[tuple[str, ModuleType]]:
        bridge, host = self.bridge, self.host
        yield "time", self._clock()
        yield "threading", threading_for(bridge, sys.modules["threading"])
        yield "subprocess", subprocess_for(host, bridge)
        yield "random", _dice(self.seed)
        yield (
            "socket",
            _like("socket", gethostname=lambda: host.name, getfqdn=lambda name="": name or host.name),
        )
        yield "platform", _like("platform", machine=lambda: "x86_64", node=lambda: host.name)
        yield "http", _http()
        if "psutil" in sys.modules or importlib.util.find_spec("psutil"):
            yield "psutil", _like("psutil", net_if_addrs=self._addresses)

    def _clock(self) -> ModuleType:
        bridge, loop = self.bridge, self.bridge.loop
        begun = loop.time()

        def now() -> float:
            return loop.time()

        return _like(
            "time",
            sleep=bridge.sleep,
            time=lambda: EPOCH + loop.time() - begun,
            monotonic=now,
            perf_counter=now,
            gmtime=lambda at=None: time.gmtime(EPOCH + loop.time() - begun if at is None else at),
            localtime=lambda at=None: time.gmtime(EPOCH + loop.time() - begun if at is None else at),
        )

    def _addresses(self) -> dict[str, list[Any]]:
        address = SimpleNamespace(family=2, address=self.host.address, netmask=None, broadcast=None, ptp=None)
        return {"eth0": [address]}

    def _keep_locks_here(self, clones: Clones) -> None:
        """Locks between processes are locks between threads of the host, without files."""
        locks = clones.replaced.get("oslo_concurrency.lockutils")
        if locks is None:
            return
        held: dict[str, _ExternalLock] = {}
        make: Callable[[], Any] = vars(clones.replaced["threading"])["Lock"]

        def external_lock(
            name: str, lock_file_prefix: str | None = None, lock_path: str | None = None
        ) -> Any:
            path = f"{lock_path or _LOCK_PATH}/{lock_file_prefix or ''}{name}"
            return held.setdefault(path, _ExternalLock(make()))

        locks.__dict__["external_lock"] = external_lock

    # -- os-brick ----------------------------------------------------------------------------------

    def _load(self) -> None:
        """Import all that may be asked for: what is imported later would not be changed."""
        for package in self.packages:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise ConfigError(f"{package} is not installed: pip install 'iscsim[osbrick]'") from error
        if "os_brick" not in self.packages:
            return
        connector = importlib.import_module("os_brick.initiator.connector")
        wanted = [*getattr(connector, "connector_list", ()), *getattr(connector, "unix_connector_list", ())]
        wanted += [str(each) for each in getattr(connector, "_connector_mapping_linux", {}).values()]
        for name in dict.fromkeys(each.rpartition(".")[0] for each in wanted):
            try:
                importlib.import_module(name)
            except (
                ImportError
            ):  # of another system, or a library that is not there: it is no connector of ours
                continue

    def _modules(self) -> list[ModuleType]:
        prefixes = tuple(f"{package}." for package in self.packages)
        return [
            module
            for name, module in sorted(sys.modules.items())
            if name in self.packages or name.startswith(prefixes)
        ]

    def _remember(self, module: ModuleType) -> None:
        """What os-brick caches in modules and classes is forgotten afterwards."""
        for owner in [module, *_classes_of(module)]:
            kept = {name: value for name, value in vars(owner).items() if _is_plain(name, value)}
            self._undo.append(lambda owner=owner, kept=kept: _restore(owner, kept))  # type: ignore[misc]

    def _stay_in_process(self) -> None:
        """What os-brick does as root it does here, not in a daemon of oslo.privsep."""
        privileged = sys.modules.get("os_brick.privileged")
        known = vars(privileged).values() if privileged is not None else ()
        for context in [value for value in known if hasattr(value, "set_client_mode")]:
            before = getattr(context, "client_mode", True)
            context.set_client_mode(False)
            self._undo.append(lambda context=context, before=before: context.set_client_mode(before))  # type: ignore[misc]


class _ExternalLock:
    """As ``fasteners.InterProcessLock``."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def acquire(self, blocking: bool = True, timeout: float | None = None, **options: Any) -> bool:
        """Take it."""
        return bool(self._lock.acquire(blocking, timeout))

    def release(self) -> None:
        """Let it go."""
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


def _classes_of(module: ModuleType) -> list[type]:
    return [
        each
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__
    ]


def _is_plain(name: str, value: Any) -> bool:
    return not name.startswith("__") and isinstance(value, _PLAIN)


def _restore(owner: Any, kept: dict[str, Any]) -> None:
    for name, value in kept.items():
        if vars(owner).get(name) is not value:
            setattr(owner, name, value)


def _like(name: str, **changed: Any) -> ModuleType:
    """A copy of a module with some of its functions changed."""
    original = importlib.import_module(name)
    module = ModuleType(name, original.__doc__)
    module.__dict__.update({key: value for key, value in vars(original).items() if key != "__builtins__"})
    module.__dict__.update(changed)
    return module


def _dice(seed: int) -> ModuleType:
    chance = random.Random(seed)
    names = [
        name for name in dir(random) if callable(getattr(chance, name, None)) and not name.startswith("_")
    ]
    return _like("random", **{name: getattr(chance, name) for name in names})


def _http() -> ModuleType:
    """``http`` with a client that finds nobody: there are no other services on the host."""

    class HTTPConnection:
        """Refused, whoever it is."""

        def __init__(self, *args: Any, **options: Any) -> None:
            """It does not connect yet."""

        def request(self, *args: Any, **options: Any) -> None:
            """Raises ConnectionRefusedError."""
            raise ConnectionRefusedError(111, os.strerror(111))

    client = _like("http.client", HTTPConnection=HTTPConnection, HTTPSConnection=HTTPConnection)
    return _like("http", client=client)
