"""cinder-rtstool where the recording says nothing: order of options, what is there already, nobody there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from iscsim.net.control_client import ControlClient
from iscsim.openstack.rtstool.command import main

TARGET = "iqn.2010-10.org.openstack:volume-1"
HOST = "iqn.1993-08.org.debian:01:host"


@pytest.fixture
def tool(array: Any, capsys: Any, monkeypatch: Any) -> Any:
    """The tool in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("ISCSIM_CONTROL", str(array.socket))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["cinder-rtstool", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def create(array: Any, tool: Any, free_port: int) -> Any:
    def run(*optional: str, name: str = TARGET, iser: str = "False") -> tuple[int, str, str]:
        where = optional or ("-a127.0.0.1", f"-p{free_port}")
        return tool("create", str(array.volume), name, "user", "secret-of-12", iser, *where)  # type: ignore[no-any-return]

    return run


def model(array: Any) -> Any:
    with ControlClient(array.socket) as client:
        return client.describe()


def test_create_makes_what_the_real_one_makes(array: Any, create: Any, free_port: int) -> None:
    assert create(f"-p{free_port}", f"{HOST}:a,{HOST}:b", "-a127.0.0.1,127.0.0.2") == (0, "", "")
    (target,) = model(array)["targets"]
    (group,) = target["tpgs"]
    assert (target["name"], group["tag"], group["enabled"]) == (TARGET, 1, True)
    assert [row["initiator"] for row in group["acls"]] == [f"{HOST}:a", f"{HOST}:b"]
    assert [row["user"] for row in group["acls"]] == ["user", "user"]
    assert [(row["lun"], row["tpg_lun"]) for row in group["acls"][0]["mapped_luns"]] == [(0, 0)]
    assert [row["address"] for row in group["portals"]] == ["127.0.0.1", "127.0.0.2"]


def test_of_options_that_come_twice_the_last_counts(array: Any, create: Any, free_port: int) -> None:
    assert (
        create(
            "-a127.0.0.2",
            "-p1",
            f"-p{free_port}",
        )[0]
        == 0
    )
    (portal,) = model(array)["targets"][0]["tpgs"][0]["portals"]
    assert portal == {"address": "127.0.0.2", "port": free_port}


def test_existing_volume_is_a_silent_no_op(array: Any, create: Any, tool: Any) -> None:
    create()
    before = model(array)
    assert tool("create", "/nowhere", TARGET, "other", "other-secret", "False") == (0, "", "")
    assert model(array) == before


def test_names_are_in_lower_case_but_for_the_backstore(array: Any, create: Any, tool: Any) -> None:
    mixed = TARGET.replace("volume", "Volume")
    create(name=mixed)
    assert tool("get-targets") == (0, f"{TARGET}\n", "")
    assert [row["name"] for row in model(array)["backstores"]] == [mixed]
    assert tool("add-initiator", mixed, "u", "p" * 12, HOST)[0] == 1
    assert tool("delete", mixed) == (0, "", "")
    assert tool("get-targets") == (0, f"{TARGET}\n", "")


def test_first_credentials_win_and_case_does_not_matter(array: Any, create: Any, tool: Any) -> None:
    create()
    for user, initiator in (("first", HOST), ("second", HOST), ("third", HOST.upper())):
        assert tool("add-initiator", TARGET, user, "secret-of-12", initiator) == (0, "", "")
    (acl,) = model(array)["targets"][0]["tpgs"][0]["acls"]
    assert (acl["initiator"], acl["user"]) == (HOST, "first")
    assert tool("delete-initiator", TARGET, HOST.upper()) == (0, "", "")
    gone = f"delete_initiator: {HOST} ACL not found. Continuing.\n"
    assert tool("delete-initiator", TARGET, HOST) == (0, gone, "")


@pytest.mark.parametrize("optional", [("-pX",), ("-a",), ("-a,",), ("a", "b", "c", "d")], ids=str)
def test_wrong_options_of_create_are_its_usage(create: Any, tool: Any, optional: Any) -> None:
    code, output, errors = create(*optional)
    assert (code, errors) == (1, "")
    assert output.splitlines()[0] == "Usage:"
    assert len(output.splitlines()) == 8
    assert tool("get-targets") == (0, "", "")


@pytest.mark.parametrize(
    "arguments",
    ["add-initiator a b c", "delete-initiator a", "delete", "save a b", "restore a b"],
)
def test_wrong_number_of_arguments_is_the_usage(tool: Any, arguments: str) -> None:
    code, output, _ = tool(*arguments.split())
    assert (code, output.startswith("Usage:\ncinder-rtstool create [device]")) == (1, True)


def test_missing_device_is_one_line(tool: Any) -> None:
    code, output, errors = tool("create", "/nowhere", TARGET, "u", "p", "False")
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert "/nowhere" in errors
    assert tool("get-targets") == (0, "", "")


def test_address_of_another_machine_is_an_error(create: Any) -> None:
    code, output, errors = create("-a192.0.2.1", "-p3260")
    wanted = (
        "Error: creating NetworkPortal: ensure port 3260 on ip 192.0.2.1 is not in use by another service.\n"
    )
    assert (code, output, errors.count("\n")) == (1, wanted, 1)


def test_iser_needs_rdma(create: Any, free_port: int) -> None:
    code, output, errors = create(iser="True")
    assert code == 1
    assert output == (
        "Error enabling iSER for NetworkPortal: please ensure that RDMA is supported on your iSCSI port"
        f" {free_port} on ip 127.0.0.1.\n"
    )
    assert errors == "rtslib_fb.utils.RTSLibError: iSER is not supported\n"


def test_file_that_cannot_be_restored_is_one_line(array: Any, create: Any, tool: Any) -> None:
    create()
    code, output, errors = tool("restore", str(array.path / "none.json"))
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("cinder.cmd.rtstool.RtstoolError: Could not restore configuration file")
    assert tool("save", "/proc/none/file")[0] == 1
    assert tool("get-targets") == (0, f"{TARGET}\n", "")


def test_restore_replaces_all_there_is(array: Any, create: Any, tool: Any, free_port: int) -> None:
    create()
    file = str(array.path / "one.json")
    assert tool("save", file) == (0, "", "")
    array.volume.with_name("second").write_bytes(bytes(1 << 20))
    other = ("-a127.0.0.1", f"-p{free_port}")
    tool("create", str(array.volume.with_name("second")), f"{TARGET}-2", "u", "p" * 12, "False", *other)
    assert len(tool("get-targets")[1].splitlines()) == 2
    assert tool("restore", file) == (0, "", "")
    assert tool("get-targets") == (0, f"{TARGET}\n", "")


def test_control_option_comes_before_the_verb(array: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("ISCSIM_CONTROL", "/nowhere")
    assert main(["x", "--control", str(array.socket), "get-targets"]) == 0
    assert main(["x"], control=str(array.socket)) == 1
    capsys.readouterr()


@pytest.mark.parametrize("verb", ["get-targets", "delete a"])
def test_without_a_target_there_is_a_line_and_1(idle_array: Any, verb: str) -> None:
    done = idle_array.tool(*verb.split())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert str(idle_array.socket) in done.stderr
    done = idle_array.tool("create", "a", "b", "c", "d", "e")
    assert done.stdout == "Ensure that configfs is mounted at /sys/kernel/config.\n"
    assert idle_array.tool("verify").returncode == 0


def test_iscsim_rtstool_is_the_same(array: Any) -> None:
    done = array.run(sys.executable, "-m", "iscsim", "rtstool", "get-targets")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = array.run(sys.executable, "-m", "iscsim", "rtstool")
    assert (done.returncode, done.stdout.splitlines()[4]) == (1, "iscsim rtstool get-targets")


def test_it_loads_next_to_nothing() -> None:
    """Measured: 20 ms of 100 that it may take. What would cost more must not be loaded."""
    code = (
        "import sys; from iscsim.openstack.rtstool.command import main; main(['x', 'verify']);"
        "print({'asyncio', 'construct', 'typer', 'subprocess', 'ssl'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env=os.environ
    )
    assert done.stdout == "set()\n", done.stderr


def test_every_target_is_listed(array: Any, tool: Any) -> None:
    with ControlClient(array.socket) as client:
        for number in range(200):
            client.create_target(f"iqn.2010-10.org.openstack:volume-{number}")
    code, output, _ = tool("get-targets")
    assert (code, len(output.splitlines())) == (0, 200)


def test_saved_file_is_that_of_lio(array: Any, create: Any, tool: Any) -> None:
    create()
    tool("save", str(array.path / "f.json"))
    assert set(json.loads((array.path / "f.json").read_text())) == {
        "fabric_modules",
        "storage_objects",
        "targets",
    }


def missing_device(document: Any) -> None:
    document["storage_objects"][0]["dev"] = "/dev/iscsim-none"


def unknown_plugin(document: Any) -> None:
    document["storage_objects"][0]["plugin"] = "user"


def duplicate_wwn(document: Any) -> None:
    (unit,) = document["storage_objects"]
    document["storage_objects"].append(unit | {"name": "other"})


def unknown_lun(document: Any) -> None:
    document["targets"][0]["tpgs"][0]["luns"][0]["storage_object"] = "/backstores/block/none"


@pytest.mark.parametrize(
    "spoil, message",
    [
        (missing_device, "/dev/iscsim-none"),
        (unknown_plugin, "plugin 'user'"),
        (duplicate_wwn, "is there twice"),
        (unknown_lun, "no storage object '/backstores/block/none'"),
    ],
)
def test_file_with_a_mistake_gets_one_line_and_changes_nothing(
    array: Any, create: Any, tool: Any, spoil: Any, message: str
) -> None:
    create()
    tool("add-initiator", TARGET, "user", "secret-of-12", HOST)
    file = array.path / "spoiled.json"
    tool("save", str(file))
    document = json.loads(file.read_text())
    spoil(document)
    file.write_text(json.dumps(document))
    before = model(array)
    code, output, errors = tool("restore", str(file))
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert message in errors
    assert model(array) == before
