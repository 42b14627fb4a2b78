"""Named, counted, seeded faults, written against the seams only (docs/reference/faults/).

`FaultEngine` holds the rules and is asked at each `Hook`; the modules of this room put themselves behind the
seams (network conditions, taps, device server, stores) and do what fires.
"""
