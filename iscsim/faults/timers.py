"""Faults that happen by themselves: rules of the TIMER hook, and the loop's clock."""

from __future__ import annotations

from collections.abc import Callable

from iscsim.errors import FaultError
from iscsim.faults.engine import FaultEngine
from iscsim.faults.occasion import Hook, Occasion
from iscsim.faults.rule import FaultRule
from iscsim.faults.world import Handle, Undo, World

__all__ = ["Timers"]


class Timers:
    """Lets TIMER rules of ``engine`` fire in ``world``: at their ``after`` (at once without one), and again
    every ``period`` seconds when the kind has that parameter.

    Actions get ``(rule, world)`` and may give back what undoes them; that is called at the rule's ``until``,
    before the rule fires again, and when it is removed.
    """

    def __init__(self, engine: FaultEngine, world: World) -> None:
        self._engine, self._world = engine, world
        self._pending: dict[FaultRule, list[Handle]] = {}
        self._undo: dict[FaultRule, Undo] = {}
        engine.listeners.append(self.add)
        engine.removal_listeners.append(self.remove)
        for rule in engine.rules.values():
            self.add(rule)

    def add(self, rule: FaultRule) -> None:
        """Wait for the time of ``rule``, if it is one of ours."""
        if Hook.TIMER in rule.kind.hooks:
            # a moment later: `add` gives the rule back to who says after and until
            self._at(rule, self._world.time(), lambda: self._begin(rule))

    def _begin(self, rule: FaultRule) -> None:
        now = self._world.time()
        if rule.begins > now:
            self._at(rule, rule.begins, lambda: self._fire(rule))
        else:
            self._fire(rule)
        if rule.ends != float("inf"):
            self._at(rule, max(rule.ends, now), lambda: self._end(rule))

    def _at(self, rule: FaultRule, when: float, callback: Callable[[], None]) -> None:
        self._pending.setdefault(rule, []).append(self._world.call_at(when, callback))

    def _fire(self, rule: FaultRule) -> None:
        now = self._world.time()
        if self._engine.fires(rule, Occasion(hook=Hook.TIMER, now=now, seam=self._world)):
            self._make_good(rule)
            try:
                undo = rule.kind.action(rule, self._world)
            except FaultError as error:
                undo = None
                self._engine.fail(rule, str(error))
            if undo is not None:
                self._undo[rule] = undo
        period = rule.parameters.get("period")
        if period and rule.armed and now + period < rule.ends:
            self._at(rule, now + period, lambda: self._fire(rule))

    def _end(self, rule: FaultRule) -> None:
        for handle in self._pending.pop(rule, []):
            handle.cancel()
        self._make_good(rule)

    def _make_good(self, rule: FaultRule) -> None:
        undo = self._undo.pop(rule, None)
        if undo is not None:
            undo()

    def remove(self, rule: FaultRule) -> None:
        """The rule is gone, and with it what it did."""
        self._end(rule)
