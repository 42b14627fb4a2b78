"""The ports of a SCSI target device, by target port group (SPC-4, "Target port groups")."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["TargetPorts"]


class TargetPorts(Mapping[int, tuple[int, ...]]):
    """Target port group -> relative target port identifiers, both ascending, as they are at this moment.

    ``read`` is asked anew every time: who owns the ports may add or take away groups, SCSI only looks. The
    object stands for the device: two of them are never equal, whatever is in them, and what several target
    nodes share is one device with the ports of all.
    """

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Mapping[int, Sequence[int]]]) -> None:
        self._read = read

    def __getitem__(self, group: int) -> tuple[int, ...]:
        return tuple(sorted(self._read()[group]))

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._read()))

    def __len__(self) -> int:
        return len(self._read())

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @property
    def count(self) -> int:
        """How many ports there are in all groups."""
        return sum(len(ports) for ports in self._read().values())

    def __repr__(self) -> str:
        return f"TargetPorts({dict(self)})"
