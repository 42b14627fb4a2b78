"""What the documentation shows works: programs run, commands are parsed, links lead somewhere."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import iscsim
from iscsim.cli.app import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [DOCS / "README.md", DOCS / "tutorial.md", *sorted(DOCS.glob("howto/*.md"))]
PAGES += sorted(DOCS.glob("reference/*.md"))
ALL = [ROOT / "README.md", *PAGES]
API = (DOCS / "reference" / "python-api.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
END_OF_COMMAND = {"|", "||", "&&", ";", "&", ">", ">>", "<"}
COMMAND_LINE: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = {name: COMMAND_LINE.get_command(None, name) for name in COMMAND_LINE.commands}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def programs() -> Iterator[Any]:
    for page in PAGES:
        for number, body in enumerate(blocks(page, "python"), 1):
            if "asyncio.run(" in body or re.search(r"^(iscsim\.)?Lab\.run\(", body, re.MULTILINE):
                yield pytest.param(body, id=f"{name(page)} {number}")


def code_lines(text: str) -> Iterator[str]:
    """Lines of code, long ones joined; a synopsis, which has brackets, is none."""
    fenced = "\n".join(body for kind, body in BLOCK.findall(text) if kind in ("sh", "console"))
    indented = "\n".join(re.findall(r"^    (.*)$", BLOCK.sub("", text), re.MULTILINE))
    for line in re.sub(r"\\\n\s*", " ", f"{fenced}\n{indented}").splitlines():
        if re.search(r"\biscsim\b", line) and not re.search(r"[\[\]]|\.\.\.", line):
            yield line


def mentions() -> Iterator[Any]:
    """Commands within sentences, which need not be whole."""
    for page in ALL:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for mention in re.findall(r"`(?:[A-Z_]+=\S+ )*iscsim ([^`]+)`", text):
            yield pytest.param(mention, id=f"{name(page)}: {mention}")


def invocations(line: str) -> Iterator[list[str]]:
    """The arguments of every ``iscsim`` in a line of shell, those within ``--run '...'`` too."""
    words = shlex.split(line, comments=True)
    for index, word in enumerate(words):
        if word == "iscsim" and all("=" in before for before in _before(words[:index])):
            arguments = words[index + 1 :]
            stop = next((at for at, each in enumerate(arguments) if each in END_OF_COMMAND), len(arguments))
            if arguments[:stop]:
                yield arguments[:stop]
        elif " " in word:
            yield from invocations(word)


def _before(words: list[str]) -> list[str]:
    """What stands between the last end of a command and here: nothing but variables, if it is a command."""
    start = max((at for at, each in enumerate(words) if each in END_OF_COMMAND), default=-1)
    return [word for word in words[start + 1 :] if word != "$"]


def documented() -> Iterator[Any]:
    for page in ALL:
        for line in code_lines(page.read_text(encoding="utf-8")):
            for arguments in invocations(line):
                yield pytest.param(arguments, id=f"{name(page)}: {' '.join(arguments)}"[:100])


@pytest.mark.parametrize("program", list(programs()))
def test_program_runs(program: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"Traceback|Warning", done.stderr), done.stderr  # what it provokes may be logged


@pytest.mark.parametrize("page", ALL, ids=name)
def test_every_python_block_is_python(page: Path) -> None:
    for body in blocks(page, "python"):
        compile(body, name(page), "exec")


@pytest.mark.parametrize(
    ("page", "passed"), [("test-a-driver-with-pytest", 4), ("test-with-pytest", 4), ("unittest", 1)]
)
def test_tests_of_the_page_pass(page: str, passed: int, tmp_path: Path) -> None:
    path = DOCS / "howto" / f"{page}.md"
    for body in blocks(path, "python"):
        file = re.match(r"# (\w+\.py)\n", body)
        assert file is not None
        (tmp_path / file[1]).write_text(body)
    for settings in blocks(path, "toml"):
        (tmp_path / "pyproject.toml").write_text(settings)
    fixed = ["-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist"]
    scope = ["-o", "asyncio_default_fixture_loop_scope=function"]
    command = [sys.executable, "-m", "pytest", *fixed, *scope]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    assert re.search(rf"^{passed} passed", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("arguments", list(documented()))
def test_command_is_one_the_command_line_takes(arguments: list[str]) -> None:
    command, *rest = arguments
    assert command in COMMANDS
    COMMANDS[command].make_context(command, rest)


@pytest.mark.parametrize("mention", list(mentions()))
def test_command_that_is_mentioned_exists_with_its_options(mention: str) -> None:
    command, *rest = mention.split()
    assert command in (*COMMANDS, "COMMAND")
    params = COMMANDS[command].params if command in COMMANDS else []
    options = {option for each in params for option in each.opts}
    wanted = [word for word in rest if word.startswith("--") and word != "--help"]
    assert [option for option in wanted if option not in options] == []


def test_synopses_of_the_reference_name_every_option() -> None:
    text = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    for command, found in COMMANDS.items():
        assert re.search(rf"^\s+iscsim {command}\b|^## iscsim {command}\b", text, re.MULTILINE), command
        options = {option for each in found.params for option in each.opts if option.startswith("--")}
        assert [option for option in options if option not in text] == [], command


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_toml_and_json_block_can_be_read(page: Path) -> None:
    for body in blocks(page, "toml"):
        tomllib.loads(body)
    for body in blocks(page, "json"):
        json.loads(body)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    found = [page for page in DOCS.rglob("*.md") if page.name != "README.md"]
    pages = [str(page.relative_to(DOCS)) for page in found if page.parent.name != "faults"]  # these have one
    assert [page for page in pages if f"({page})" not in index] == []


def section(public: str) -> str:
    """What the reference says of a name: its heading's text, or its row in the table of errors."""
    found = re.search(rf"^### {public}\n(.*?)(?=^##)", API, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("public", iscsim.__all__)
def test_public_name_is_in_the_reference(public: str) -> None:
    assert section(public) or f"`{public}`" in API or f"`iscsim.{public}`" in API


@pytest.mark.parametrize("public", [public for public in iscsim.__all__ if section(public)])
def test_signature_in_the_reference_has_every_argument(public: str) -> None:
    signature = re.search(rf"^    {public}\((.*?)\)(?: ->|\n\n)", section(public), re.MULTILINE | re.DOTALL)
    assert signature is not None
    shown = re.findall(r"(?:^|, |,\s+)(\w+)", re.sub(r"\([^)]*\)|\{[^}]*\}|\"[^\"]*\"", "", signature[1]))
    assert shown == list(inspect.signature(getattr(iscsim, public)).parameters)
