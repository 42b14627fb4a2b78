"""Side-by-side measurements against tgt and libiscsi: ``python -m benchmarks``."""
