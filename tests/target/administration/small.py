"""A configuration as cinder makes it: a target, a portal group, a LUN, an initiator; and a second host."""

from __future__ import annotations

import random
from typing import Any

from exchanges.ladder import INITIATOR, ISID, TARGET, Exchange, connect, log_in, login_request

from iscsim.scsi.sense import Sense
from iscsim.target.administration.acls import ACLs
from iscsim.target.administration.backstores import Backstore, BackstoreSpec
from iscsim.target.administration.configuration import Configuration
from iscsim.target.administration.luns import LUNs
from iscsim.target.node import NetworkEntity, Portal
from iscsim.target.policy import RFC, TargetPolicy

OTHER = "iqn.2026-11.org.example:other"
NO_CHAP = {"user": "", "password": "", "mutual_user": "", "mutual_password": ""}


class Small:
    """LUN 0 is ``disk0``, which INITIATOR and OTHER see as LUN 0; ``disk1`` is shown to nobody yet."""

    def __init__(self, policy: TargetPolicy = RFC) -> None:
        self.entity = NetworkEntity(policy)
        self.configuration = Configuration(self.entity, random.Random(1))
        self.luns, self.acls = LUNs(self.configuration), ACLs(self.configuration)
        self.backstore("disk0")
        self.backstore("disk1", size=1 << 19)
        self.configuration.create_target(TARGET)
        self.configuration.create_group(TARGET, 1)
        self.configuration.set_group(TARGET, 1, {"authentication": 0}, None, {})
        self.configuration.add_portal(TARGET, 1, Portal("192.0.2.1"))
        self.configuration.enable_group(TARGET, 1)
        self.luns.create(TARGET, 1, "disk0", 0, None)
        for initiator in (INITIATOR, OTHER):
            self.show(self.acl(initiator), 0, 0)

    def backstore(self, name: str, **more: Any) -> Backstore:
        given = {"name": name, "serial": f"serial of {name}", "size": 1 << 20} | more
        return self.configuration.backstores.create(BackstoreSpec(**given), self.entity.policy)

    def acl(self, initiator: str, **chap: str) -> Any:
        return self.acls.create(TARGET, 1, initiator, NO_CHAP | chap, {})

    def show(self, acl: Any, number: int, tpg_lun: int, write_protect: bool = False) -> None:
        self.luns.show(TARGET, 1, acl, number, tpg_lun, write_protect, None)

    def host(self, initiator: str = INITIATOR, **more: Any) -> Exchange:
        isid = ISID if initiator == INITIATOR else bytes(6)
        return log_in(self.entity, {"InitiatorName": initiator}, **({"isid": isid} | more))

    def refusal(self, initiator: str = INITIATOR) -> int:
        exchange = connect(self.entity) >> login_request({"InitiatorName": initiator})
        return exchange.refusal


def sense_of(response: Any) -> tuple[int, int, int]:
    """Sense key, ASC and ASCQ of a SCSI response."""
    sense = Sense.parse(bytes(response.data)[2:])
    return sense.key, sense.asc, sense.ascq


def ask(exchange: Exchange, request: Any) -> Any:
    """The one answer to a request."""
    exchange >> request
    answer = exchange.next()
    assert exchange
    return answer
