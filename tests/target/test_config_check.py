"""Everything that is wrong with a configuration file, and its schema."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from iscsim.errors import ConfigError
from iscsim.target.config_check import config_problems, config_schema, read_document

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "config.schema.json"
GOOD = """
personality = "vnx"
state = "/var/lib/iscsim"
[[target]]
name = "iqn.1992-04.com.emc:cx.fnm00150600267"
alias = "array"
portals = ["10.245.47.95:3260", "10.245.47.96:3260", "0.0.0.0:0", "0.0.0.0:0"]
luns = ["197=3G,thin,wwn=36006016015e03a00ab2df25bb82d0ea9,owner=b", "198=new.img,size=1M"]
initiators = ["iqn.1993-08.org.debian:01:7cc8838d1c0"]
redirects = ["1=10.245.47.97:3260"]
[[target]]
initiators = ["*"]
"""


def test_good_file_has_no_problems() -> None:
    assert config_problems(tomllib.loads(GOOD)) == []
    assert config_problems({}) == []


@pytest.mark.parametrize(
    "text, problem",
    [
        ('personality = "vxn"', "personality: 'vxn' is none (did you mean 'vnx'?)"),
        ('personality = "LIO "', "personality: 'LIO ' is none (did you mean 'lio'?)"),
        ("personality = 1", "personality: expected a string"),
        ('staet = "x"', "unknown key 'staet' (did you mean 'state'?)"),
        ("target = 1", "target: expected an array of tables"),
        ("[[target]]\nport = 3", "[[target]] 1: unknown key 'port' (did you mean 'portals'?)"),
        ("[[target]]\nalias = 4", "[[target]] 1: alias: expected a string"),
        ("[[target]]\nluns = [1]", "[[target]] 1: luns: expected an array of strings"),
        ('[[target]]\nluns = ["1=64M,wnn=6"]', "[[target]] 1: luns[1]: unknown option 'wnn' of LUN 1"),
        ('[[target]]\nluns = ["1=1M", "1=1M"]', "[[target]] 1: luns: LUN 1 is there twice"),
        ('[[target]]\nluns = ["1=/none/such"]', "'/none/such' is neither a size nor a file"),
        ('[[target]]\nportals = ["a:b"]', "[[target]] 1: portals[1]: not a portal"),
        ('[[target]]\nportals = ["a:1", "a:1"]', "[[target]] 1: portals: a:1 is there twice"),
        ('[[target]]\nname = "foo"', "[[target]] 1: name: not an iSCSI name: 'foo'"),
        ('[[target]]\ninitiators = ["*", "iqn.2026-11.a:b"]', "no other may stand beside it"),
        ('[[target]]\ninitiators = ["iqn.2026-11.a:b", "iqn.2026-11.a:b"]', "iqn.2026-11.a:b is there twice"),
        ('[[target]]\nredirects = ["x"]', "[[target]] 1: redirects[1]: not a redirection"),
        ("[[target]]\n[[target]]", "[[target]]: iqn.2026-11.org.iscsim:disk is there twice"),
    ],
)
def test_mistake_is_a_line_with_its_place(text: str, problem: str) -> None:
    (found,) = config_problems(tomllib.loads(text))
    assert problem in found
    assert "\n" not in found


def test_every_mistake_is_told() -> None:
    text = 'colour = 1\nstate = 2\n[[target]]\nluns = ["x", "1=1M,a=b"]\n[[target]]\nname = "foo"'
    assert len(config_problems(tomllib.loads(text))) == 5


def test_passwords_are_not_told() -> None:
    text = '[[target]]\ninitiators = ["iqn.bad:user:secret"]'
    (problem,) = config_problems(tomllib.loads(text))
    assert "secret" not in problem


def test_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("= broken")
    for path in (tmp_path / "x", tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            read_document(path)


def test_documented_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == config_schema()
