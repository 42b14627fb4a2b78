"""What conforms to what: the checklist of RFC 7143, the tests that prove it, libiscsi's suites, and the page.

``python -m conformance`` (``make conformance``) runs all of it, writes ``docs/conformance.json`` and makes
``docs/conformance.md`` of that file, of ``checklist.toml`` and of the tags in the tests.
"""
