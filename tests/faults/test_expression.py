"""The closed language of ``expr``: what it says, and that it never does anything else."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsim.errors import ConfigError
from iscsim.faults.expression import VARIABLES, compile_expression
from iscsim.faults.occasion import Hook, Occasion

READ = Occasion(
    hook=Hook.START,
    now=2.5,
    target="iqn.2026-11.test:disk",
    lun=b"\0\5" + bytes(6),
    cdb=bytes.fromhex("28000000002a00000800"),
    length=4096,
)

HOLDS = [
    "cdb.op == 0x28",
    "cdb.op in (0x28, 0x88) and cdb.lba == 42",
    "lba in range(0, 64) and lba not in range(43, 64)",
    "lba + blocks <= 50",
    "lba % 7 == 0 and -lba < 0",
    "lba & 0x2a == 42 or 1 == 2",
    "40 < lba < 43",
    "lun == 5 and command == 'READ (10)'",
    "target == 'iqn.2026-11.test:disk' and ':disk' in target",
    "not (length < min(4096, 8192)) and max(1, 2) == 2 and len(target) > 3",
    "now in range(0, 10) or now > 2",
    "lba in range(0, 18446744073709551616)",
]


@pytest.mark.parametrize("text", HOLDS)
def test_expression_holds(text: str) -> None:
    assert compile_expression(text)(READ)
    assert not compile_expression(f"not ({text})")(READ)


FAILS_QUIETLY = [
    "target < 3",
    "target + 1 == 2",
    "'%1000000000d' % lba == ''",
    "lba % 0 == 1",
    "'x' in range(0, 1000000000000000000)",
    "now in range(0, 1000000000000000000)",
    "target in range(0, 1000000000000000000)",
    "min(range(0, 1000000000000000000)) == 0",
    "max(range(0, 1000000000000000000)) == 0",
    "len(range(0, 18446744073709551616)) == 0",
    "1e999 in range(0, 10)",
    "range('x', 2) == 3",
]


@pytest.mark.parametrize("text", FAILS_QUIETLY)
@pytest.mark.timeout(5)
def test_what_does_not_fit_does_not_hold_and_takes_no_time(text: str) -> None:
    assert not compile_expression(text)(READ)


REFUSED = [
    ("", "not an expression"),
    ("1 +", "not an expression"),
    ("lba = 3", "not an expression"),
    ("__import__('os').system('true')", "can call len, min, max, range, not"),
    ("open('/etc/passwd')", "can call"),
    ("target.__class__", "unknown name in an expression 'target.__class__'"),
    ("cdb.opp == 1", "did you mean 'cdb.op'"),
    ("lda == 1", "did you mean 'lba'"),
    ("lba ** lba ** lba", "cannot have"),
    ("lba * 1000", "cannot have"),
    ("1 << 1000000000", "cannot have"),
    ("[x for x in range(10)]", "cannot have"),
    ("lambda: 1", "cannot have"),
    ("(lba := 1)", "cannot have"),
    ("f'{lba}'", "cannot have"),
    ("target[0]", "cannot have"),
    ("1 if lba else 2", "cannot have"),
    ("b'x' == lba", "constant b'x'"),
    ("None == lba", "constant None"),
    ("1j == lba", "constant 1j"),
    ("range(*(1, 2))", "cannot have"),
    ("range(stop=3)", "can call"),
    ("~lba", "cannot have"),
    ("lba is 3", "cannot have"),
    ("(" * 240 + "1" + ")" * 240, "not an expression"),
    ("not " * 120 + "1", "nested more than 40 deep"),
    ("-" * 490 + "1", "not an expression"),
    ("1" * 501, "an expression of 501 characters"),
    ("lba\0", "not an expression"),
]


@pytest.mark.parametrize("text, message", REFUSED)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_expression(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="an expression is a text"):
        compile_expression(3)  # type: ignore[arg-type]


WORDS = "1 0x2a 'a' range(0,9) ( ) [ ] , == < >= + - % // & | len( min( max( range( ** . lambda :".split()
PIECES = st.sampled_from([*VARIABLES, *WORDS, " and ", " or ", " not ", " in "])


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=30).map("".join)))
def test_any_text_is_refused_or_says_yes_or_no(text: str) -> None:
    try:
        holds = compile_expression(text)
    except ConfigError:
        return
    assert holds(READ) in (True, False)
    names = {node.id for node in ast.walk(ast.parse(text.strip(), mode="eval")) if isinstance(node, ast.Name)}
    assert names <= {*(name.split(".")[0] for name in VARIABLES), "len", "min", "max", "range"}
