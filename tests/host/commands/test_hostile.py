"""Whatever is typed: a command ends with an exit code, and says what is wrong in a line."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iscsim.host import commands  # noqa: F401 - they declare themselves
from iscsim.host.settings import HostSettings
from iscsim.host.shell import COMMANDS
from iscsim.lab import Lab

from ..world import ARRAY, log_in

NAMES = (
    "blkid blockdev cat dd dmsetup findmnt iscsiadm lsblk lsscsi multipath multipathd nvme scsi_id sg_scan"
    " systool tee udevadm"
).split()
WORDS = """
    -m node session discovery discoverydb iface host fw -t st sendtargets isns -p 10.245.47.95
    10.245.47.95:3260 [::1]:3260 10.245.47.95:99999 :: -T -I default iser -o --op new update delete
    show nonpersistent -n -v node.startup node.session.nr_sessions node.conn[0].timeo.login_timeout
    node.session.scan automatic -1 0 1 99999999999999999999 1e400 nan -l --login -u --logout -R
    --rescan -r -P 3 -P9 -S -s -L all -U --discover -D -k -x -C chap -a -d 8 -h -V
    discovery.sendtargets.reopen_max discovery.sendtargets.timeo.login_timeout
    discovery.sendtargets.auth.authmethod CHAP -ll -r -f -F -w -W -c -q -A dm-0 sda sdb /dev/sda
    /dev/dm-0 /dev/mapper /dev/mapper/360000 / /dev/null /dev show status paths raw format %d %w
    %s%% maps topology add del path map resize reconfigure -k -kshow list --page 0x83 0x80 0xff
    --whitelisted --flushbufs --getsize64 --getro --getss --getsz -o NAME,RO NAME,SIZE,KNAME -n -b
    -d -p -J --json if=/dev/sda of=/dev/null of=/dev/sda of=/dev/sdz bs=4k bs=0 bs=1 count=1 count=0
    skip=99999999 seek=1 seek=99999999999 if=/etc if=/dev/zero if= of= bs count=-1 info ls settle -c
    fc_host -v -f list version UUID -s /sys/block/sda/device/delete /sys/block/sda/device/rescan
    /sys/class/scsi_host/host2/scan /etc/new /etc /sys/block/sda/size /etc/iscsi/initiatorname.iscsi
    .. . -- - --nonsense -Z
""".split()


def words() -> st.SearchStrategy[list[str]]:
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
    return st.lists(
        st.one_of(st.sampled_from([*WORDS, ARRAY]), st.sampled_from([*WORDS, ARRAY]), text), max_size=8
    )


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs=st.lists(st.tuples(words(), st.binary(max_size=12)), min_size=1, max_size=4))
def test_any_arguments_end_with_an_exit_code(name: str, runs: list[tuple[list[str], bytes]]) -> None:
    async def main(lab: Lab) -> None:
        host = await log_in(lab, HostSettings(find_multipaths="no"))
        for arguments, stdin in runs:
            result = await host.execute(name, *arguments, stdin=stdin)
            assert 0 <= result.exit_code <= 255
            assert "Traceback" not in result.error
            if result.exit_code:
                assert len(result.error.splitlines()) <= 40

    Lab.run(main, judge=False)


def test_every_command_is_tried() -> None:
    assert sorted(COMMANDS) == NAMES
