"""Faults of paths as the target makes them: asymmetric access states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iscsim.errors import ConfigError, FaultError
from iscsim.faults.kinds import FaultKind, Parameter, add_kind
from iscsim.faults.occasion import Hook
from iscsim.faults.rule import FaultRule
from iscsim.faults.seconds import Seconds
from iscsim.faults.units import LUN, TARGET, nodes_of, units_of
from iscsim.faults.world import Undo, World
from iscsim.scsi.asymmetric_access import SUPPORTED, AccessState

__all__: list[str] = []


def _set_state(rule: FaultRule, world: World) -> Undo:
    """The state at once, or TRANSITIONING first; undone, every unit has the one it had."""
    given = rule.parameters
    state, tag, lun = AccessState.of(given["state"]), given["portal_group"], given["lun"]
    units_of(rule, world)  # say so when there is none
    places = [
        (unit.access, node.target_port_group_of(tag), node.ports)
        for node in nodes_of(rule, world)
        if tag in node.portal_groups
        for unit in node.units(lun)
    ]
    if not places:
        raise FaultError(f"{rule.id}: there is no portal group {tag}")
    before = [(access, group, ports, access.state(group, ports)) for access, group, ports in places]
    if given["transition_time"]:
        changes = [access.transition(group, state, ports=ports) for access, group, ports in places]
        when = world.time() + given["transition_time"]
        for change in changes:
            world.call_at(when, lambda change=change: change.finish() and None)  # type: ignore[misc]
    else:
        for access, group, ports in places:
            access.set_state(group, state, ports=ports)

    def give_back() -> None:
        for access, group, ports, old in before:
            access.set_state(group, old, ports=ports)

    return give_back


def _check(given: Mapping[str, Any]) -> None:
    if given["transition_time"] and given["state"] == AccessState.TRANSITIONING.text:
        raise ConfigError("path.asymmetric: a transition goes to another state")


add_kind(
    FaultKind(
        name="path.asymmetric",
        hooks=(Hook.TIMER,),
        summary="Through one portal group the units may be used otherwise: standby, unavailable and so on.",
        observable="06/2a/06 once, then 02/04/0a to 0c on that path; multipath uses the other ones",
        action=_set_state,
        parameters=(
            TARGET,
            LUN,
            Parameter("portal_group", int, "the tag of the portal group", required=True, minimum=1),
            Parameter(
                "state",
                str,
                "the access state",
                required=True,
                choices=tuple(state.text for state in sorted(SUPPORTED)),
            ),
            Parameter("transition_time", Seconds, "how long it is transitioning before", default=0.0),
        ),
        check=_check,
    )
)
