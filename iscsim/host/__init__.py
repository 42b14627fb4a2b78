"""An emulated Linux host: what programs of a storage host see and do, over real sessions of our initiator.

`model` is the host itself; `shell` runs its commands; `tree` is its file system.
"""
