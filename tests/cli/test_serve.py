"""``iscsim serve``: its options, what is wrong with them, what it shows, what --run gets."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

HOST = "iqn.1993-08.org.debian:01:host"
SECRET = "never-to-be-shown"
VARIABLES = "portal portal2 target uri uri2 control".split()
SHOW = f"{sys.executable} -c 'import os, json; print(json.dumps(dict(os.environ)))'"

CONFIG = """
personality = "lio"

[[target]]
name = "iqn.2026-11.test:first"
portals = ["127.0.0.1:0", "127.0.0.1:0"]
luns = ["5=1M", "6=2M,readonly"]
"""


def variables(done: Any) -> dict[str, str]:
    """What --run COMMAND was given."""
    assert (done.code, done.stderr) == (0, ""), done
    environment = json.loads(done.stdout)
    return {name: environment[name] for name in VARIABLES if name in environment}


@pytest.mark.parametrize(
    "option, value, what",
    [
        ("--lun", "64M", "not a LUN: '64M'"),
        ("--lun", "1=64M,colour=red", "unknown option 'colour' of LUN 1"),
        ("--lun", "1=/nowhere/disk.img", "neither a size nor a file"),
        ("--lun", "1=/nowhere/disk.img,size=1M", "/nowhere/disk.img: No such file"),
        ("--lun", "1=/etc", "/etc: Is a directory"),
        ("--target", "disk", "not an iSCSI name: 'disk'"),
        ("--initiator", "host", "not an initiator: 'host'"),
        ("--portal", "x:y", "not a portal: 'x:y'"),
        ("--portal", "127.0.0.1:65536", "not one of 0 to 65535"),
        ("--portal", "3260", "not a portal: '3260' has no host (expected HOST:PORT"),
        ("--redirect", "1=2", "redirection to portal 2: iqn.2026-11.org.iscsim:disk has 1"),
        ("--redirect", "1", "not a redirection: '1'"),
        ("--personality", "emc", "unknown personality 'emc' (known: rfc, lio, tgt, vnx)"),
        ("--config", "/nowhere/target.toml", "/nowhere/target.toml: No such file"),
        ("--state", "/dev/null", "state directory /dev/null: File exists"),
    ],
)
def test_wrong_option_is_one_line_and_exit_2(cli: Any, option: str, value: str, what: str) -> None:
    cli("serve", "--portal", "127.0.0.1:0", option, value, "--run", "true").assert_failed(2, what)


@pytest.mark.parametrize(
    "text, what", [("= broken", "Invalid statement"), ("colour = 1", "unknown key 'colour'")]
)
def test_wrong_file_is_one_line_and_exit_2(cli: Any, tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "target.toml"
    path.write_text(text)
    cli("serve", "--config", path).assert_failed(2, what)


@pytest.mark.parametrize("text", [f"host:user:{SECRET}", f"iqn.x:user:{SECRET}", f"{HOST}::{SECRET}"])
def test_error_about_an_initiator_does_not_show_its_password(cli: Any, text: str) -> None:
    done = cli("serve", "--initiator", text, "--run", "true")
    done.assert_failed(2, "initiator")
    assert SECRET not in done.stderr


def test_capture_that_cannot_be_written_is_exit_2(cli: Any) -> None:
    cli("serve", "--pcap", "/nowhere/a.pcapng", "--run", "true").assert_failed(2, "/nowhere/a.pcapng")


def test_port_in_use_is_exit_3(cli: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        portal = f"127.0.0.1:{taken.getsockname()[1]}"
        cli("serve", "--portal", portal).assert_failed(
            3, f"cannot listen on {portal}: Address already in use"
        )


def test_address_that_is_not_ours_is_exit_3(cli: Any) -> None:
    cli("serve", "--portal", "192.0.2.1:0").assert_failed(3, "192.0.2.1:0: Cannot assign requested address")


def test_control_socket_that_cannot_be_made_is_exit_3(cli: Any) -> None:
    cli("serve", "--control", "/nowhere/control", "--run", "true").assert_failed(3, "/nowhere/control")


def test_command_gets_the_addresses(cli: Any) -> None:
    found = variables(cli.spawn("serve", "--portal", "127.0.0.1:0", "--portal", "127.0.0.1:0", "--run", SHOW))
    assert found["portal"] != found["portal2"]
    assert found["target"] == "iqn.2026-11.org.iscsim:disk"
    assert found["uri"] == f"iscsi://{found['portal']}/{found['target']}/1"
    assert found["uri2"] == f"iscsi://{found['portal2']}/{found['target']}/1"


def test_one_portal_has_no_second_uri(cli: Any) -> None:
    found = variables(cli.spawn("serve", "--lun", "0=1M", "--run", SHOW))
    assert sorted(found) == ["portal", "target", "uri"]
    assert found["uri"].endswith("/0")
    assert not found["portal"].endswith(":3260")


def test_uri_has_the_credentials_of_chap(cli: Any) -> None:
    found = variables(cli.spawn("serve", "--initiator", f"*:user:{SECRET}", "--run", SHOW))
    assert found["uri"].startswith(f"iscsi://user%{SECRET}@127.0.0.1:")


def test_wildcard_is_reached_on_this_machine(cli: Any) -> None:
    found = variables(cli.spawn("serve", "--portal", "0.0.0.0:0", "--run", SHOW))
    assert found["portal"].startswith("127.0.0.1:")


def test_colons_that_could_be_the_name_s_are_pointed_out(cli: Any) -> None:
    done = cli.spawn("serve", "--initiator", f"{HOST}:user:{SECRET}", "--run", "true")
    assert done.code == 0
    assert f"note: initiator {HOST}, CHAP user user; if those colons belong to the name" in done.stderr
    assert SECRET not in done.stderr


def test_file_describes_targets_and_options_change_the_first(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "target.toml"
    path.write_text(CONFIG)
    found = variables(cli.spawn("serve", "--config", path, "--run", SHOW))
    assert found["target"] == "iqn.2026-11.test:first"
    assert found["uri2"].endswith("/iqn.2026-11.test:first/5")
    found = variables(cli.spawn("serve", "--config", path, "--target", "iqn.2026-11.test:x", "--run", SHOW))
    assert found["uri"].endswith("/iqn.2026-11.test:x/5")


def test_options_replace_what_the_file_says(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "target.toml"
    path.write_text(CONFIG)
    found = variables(
        cli.spawn("serve", "--config", path, "--lun", "9=1M", "--portal", "127.0.0.1:0", "--run", SHOW)
    )
    assert found["uri"].endswith("/iqn.2026-11.test:first/9")
    assert "portal2" not in found


def test_capture_holds_what_the_command_said(cli: Any, tmp_path: Path) -> None:
    from iscsim.capture import pcap_ladder

    capture = tmp_path / "a.pcapng"
    inner = f"{sys.executable} -m iscsim luns $portal $target --json"
    done = cli.spawn("serve", "--lun", "7=1M", "--pcap", capture, "--run", inner)
    assert (done.code, done.stderr) == (0, "")
    assert [unit["lun"] for unit in json.loads(done.stdout)] == [7]
    ladder = str(pcap_ladder(capture))
    assert "Login Request" in ladder
    assert "Logout Response" in ladder


def test_control_socket_is_told_to_the_command(cli: Any) -> None:
    control = cli.runtime / "control"
    found = variables(cli.spawn("serve", "--control", control, "--run", SHOW))
    assert found["control"] == str(control)
    assert not control.exists()


def test_state_is_kept_in_a_directory_that_is_let_go_at_the_end(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "target.toml"
    path.write_text(f'state = "{tmp_path}/state"\n')
    for options in (("--config", path), ("--state", tmp_path / "state")):
        variables(cli.spawn("serve", *options, "--run", SHOW))
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_damaged_state_is_one_line_and_exit_2(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "6006016015e03a00ab2df25bb82d0ea9.json").write_text("{")
    lun = "1=1M,wwn=6006016015e03a00ab2df25bb82d0ea9"
    done = cli("serve", "--lun", lun, "--state", tmp_path, "--run", "true")
    done.assert_failed(2, "6006016015e03a00ab2df25bb82d0ea9.json: damaged")


def test_help_names_every_option_of_a_lun(cli: Any) -> None:
    known = cli("serve", "--lun", "1=1M,colour=red").stderr.partition("(known: ")[2].rstrip(")\n").split(", ")
    assert len(known) > 1
    assert set(known) <= set(cli("serve", "--help").stdout.replace(".", " ").split())


def test_array_has_a_target_at_each_portal(cli: Any) -> None:
    portals = ("--portal", "127.0.0.1:0", "--portal", "127.0.0.1:0")
    name = "iqn.1992-04.com.emc:cx.fnm00150600267"
    shown = variables(
        cli.spawn(
            "serve", "--personality", "vnx", "--target", name, *portals, "--lun", "197=1M", "--run", SHOW
        )
    )
    assert shown["target"] == f"{name}.a0"
    assert shown["uri"].endswith(f"/{name}.a0/197")
    assert shown["uri2"].endswith(f"/{name}.b0/197")
