"""iSCSI in user space: target, initiator, network, faults and captures for tests."""

__version__ = "0.1.0"
