"""Unmodified, blocking programs on the emulated host, in this process and in its time.

`bridge` lets blocking code wait for coroutines, `threads` gives it threads that take turns, `clones` gives
its modules an operating system of their own, `files` and `processes` are that, and `sandbox` puts it all
together.
"""
