"""The host's file system as real files: as the model has it, and what programs write goes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from host.exec.stage import WWID, Stage

from iscsim.host.exec.export import ROOTS, Export
from iscsim.host.model import Host
from iscsim.host.tree import Directory, File, Link


def walked(export: Export) -> list[str]:
    """Everything there is, as paths of the host."""
    found = []
    for root in ROOTS:
        for directory, directories, files in os.walk(export.place(root)):
            base = root + directory.removeprefix(export.place(root))
            found += [f"{base}/{name}" for name in (*directories, *files)]
    return sorted(found)


def real(path: str) -> str:
    """Where it leads; it must lead somewhere."""
    return os.path.realpath(path, strict=True)


def content(export: Export, path: str) -> bytes:
    return Path(export.place(path)).read_bytes()


def shown(host: Host) -> list[str]:
    return [path for path in host.tree if path.startswith(tuple(f"{root}/" for root in ROOTS))]


def is_as_in_the_model(host: Host, path: str, place: str) -> bool:
    entry = host.tree.entries[path]
    if isinstance(entry, File) and entry.mode & 0o400 and Path(place).read_bytes() != entry.content():
        return False
    is_directory = isinstance(host.tree.lookup(path), Directory)
    return (os.path.islink(place), os.path.isdir(place)) == (isinstance(entry, Link), is_directory)


async def test_it_is_as_the_model_has_it(host: Host, tmp_path: Path) -> None:
    export = Export(host, tmp_path)
    for line in (["-m", "discovery", "-t", "st", "-p", "10.245.47.95"], ["-m", "node", "-l"]):
        await host.execute("iscsiadm", *line)
    await host.settle()
    export.update()
    assert walked(export) == shown(host)
    for path in shown(host):
        assert is_as_in_the_model(host, path, export.place(path)), path


async def test_links_lead_to_the_same_in_the_exported_tree(stage: Stage) -> None:
    await stage.log_in()
    base, sys = stage.path("/dev"), stage.path("/sys")
    assert real(f"{base}/mapper/{WWID}") == f"{base}/dm-0"
    assert real(f"{sys}/block/sdc/holders/dm-0") == f"{sys}/devices/virtual/block/dm-0"
    assert real(f"{sys}/block/dm-0/slaves/sdc/device/block/sdc") == real(f"{sys}/class/block/sdc")
    assert stage.read("/sys/block/dm-0/dm/uuid") == f"mpath-{WWID}\n"


async def test_what_goes_in_the_model_goes(stage: Stage) -> None:
    before = walked(stage.execution.export)
    await stage.log_in()
    assert len(walked(stage.execution.export)) > len(before) + 100
    await stage.host.execute("multipath", "-f", WWID)
    await stage.host.execute("iscsiadm", "-m", "node", "-u")
    await stage.execution.show()
    assert set(walked(stage.execution.export)) - set(before) == {"/etc/multipath/wwids"}


async def test_what_others_make_stays(host: Host, tmp_path: Path) -> None:
    export = Export(host, tmp_path)
    host.links["/dev/disk/by-id/ours"] = "../../sda"
    host.changed()
    export.update()
    theirs = "/dev/disk/by-id/os-brick+dev+sda"
    os.symlink("/dev/mapper/crypt", export.place(theirs))
    host.unlink("/dev/disk/by-id/ours")
    export.update()
    assert [path for path in walked(export) if "by-id/" in path] == [theirs]


async def test_kinds_may_change(host: Host, tmp_path: Path) -> None:
    export = Export(host, tmp_path)
    host.files["/etc/iscsi/x"] = b"file"
    host.changed()
    export.update()
    del host.files["/etc/iscsi/x"]
    host.files["/etc/iscsi/x/y"] = b"below"
    host.changed()
    export.update()
    assert "/etc/iscsi/x/y" in walked(export)
    del host.files["/etc/iscsi/x/y"]
    host.links["/etc/iscsi/x"] = "/etc/iscsi/initiatorname.iscsi"
    host.changed()
    export.update()
    assert os.readlink(export.place("/etc/iscsi/x")) == "initiatorname.iscsi"


async def test_written_files_are_told_once(host: Host, tmp_path: Path) -> None:
    export = Export(host, tmp_path)
    export.update()
    path = "/etc/iscsi/initiatorname.iscsi"
    assert list(export.written()) == []
    with open(export.place(path), "wb") as file:  # noqa: ASYNC230
        file.write(b"words")
    assert list(export.written()) == [(path, b"words")]
    assert list(export.written()) == []


async def test_an_attribute_does_not_keep_what_is_written(stage: Stage) -> None:
    await stage.log_in()
    path = "/sys/class/scsi_host/host2/scan"
    stage.write(path, "- - -\n")
    await stage.execution.look()
    await stage.execution.show()
    assert stage.read(path) == ""
    assert stage.host.history[-1].argv == ("tee", stage.host.tree.resolve(path))


@pytest.mark.parametrize("put", ["link", "fifo", "directory"])
async def test_what_a_program_puts_in_the_place_of_a_file_is_neither_followed_nor_waited_for(
    host: Host, tmp_path: Path, put: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the machine")
    export = Export(host, tmp_path / "shown")
    export.update()
    place = export.place("/etc/iscsi/initiatorname.iscsi")
    os.unlink(place)
    match put:
        case "link":
            os.symlink(secret, place)
        case "fifo":
            os.mkfifo(place)
        case "directory":
            os.mkdir(place)
    assert list(export.written()) == []


async def test_what_a_program_leaves_where_we_work_is_no_obstacle(host: Host, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the machine")
    export = Export(host, tmp_path / "shown")
    export.update()
    os.symlink(secret, tmp_path / "shown" / ".new")
    host.files["/etc/iscsi/initiatorname.iscsi"] = b"InitiatorName=iqn.2026-11.org.iscsim:new\n"
    host.changed()
    export.update()
    assert content(export, "/etc/iscsi/initiatorname.iscsi").endswith(b":new\n")
    assert secret.read_text() == "of the machine"
