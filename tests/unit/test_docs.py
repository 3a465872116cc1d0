"""The documentation says what the code does: every link, command, option, event, exit code and test that it names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from invoke.exceptions import ParseError
from invoke.parser import Parser

from deployer.__main__ import LOCAL, program
from deployer.cli.standalone import Parser as LocalParser
from deployer.cli.standalone import words_after_dashes
from deployer.cli.usage.program import joined
from deployer.cli.usage.words import with_options
from deployer.commands import sandbox
from deployer.commands.demo import demo
from deployer.config.describe import markdown
from deployer.events import NAMES
from deployer.host.units.confinement import LINES
from deployer.host.units.overrides import ALLOWED
from deployer.tasks import namespace
from deployer.wire.protocol import PHASES, Exit

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
OWN = [page for page in PAGES if "decisions" not in page.parts]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
COMMON = {"--env", "--config", "--accept-new", "--json", "--verbose", "--parallel"}


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", page.read_text())


def anchor(heading: str) -> str:
    """A heading's anchor, as code hosts make it."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", lambda found: found[1] or "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)}


def section(page: Path, heading: str) -> str:
    """What stands below a heading, up to the next of its kind."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^\1 |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {heading!r}"
    return found[2]


def bare(name: str) -> str:
    """The option that words behind a task belong to."""
    option = getattr(namespace[name], "bare", "")
    return f"--{option}" if option else ""


CONTEXTS = {context.name: context for context in namespace.to_contexts()}
LOCAL_PARSERS: dict[str, LocalParser] = {
    "demo": demo.parser(),
    **{f"sandbox {name}": one for name, one in sandbox.parser().commands.choices.items()},
}
"""The commands that are no tasks."""


@pytest.mark.parametrize("page", OWN, ids=names(OWN))
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file or a heading of this project has one at its end."""
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} does not exist"
        if fragment:
            assert fragment in anchors(there), f"{target}: no such heading"


def commands(page: Path) -> Iterator[str]:
    """Every ``fab …`` and ``deployer …`` that the page tells to type, in blocks and within lines."""
    starts = {"console": r"^\$ ", "sh": r"^\s*", "yaml": r"^\s*- run: "}
    for language, block in FENCE.findall(page.read_text()):
        if language in starts:
            yield from re.findall(
                rf"(?:{starts[language]}|&& |\| |; )((?:fab|deployer) (?:'[^'\n]*'|[^|;&><#\n'])+)", block, re.MULTILINE
            )
    yield from re.findall(r"`((?:fab|deployer) [^`]+)`", prose(page))


def test_the_pages_have_what_these_tests_look_for() -> None:
    """Else they would hold whatever the pages said."""
    pages = {page.relative_to(ROOT).as_posix() for page in OWN}
    assert {"README.md", "docs/reference/commands.md", "docs/reference/events.md"} <= pages
    assert sum(len(LINK.findall(prose(page))) for page in OWN) > 50
    assert sum(1 for page in OWN for _ in commands(page)) > 100
    assert {"deploy", "rollback", "setup"} <= set(CONTEXTS)
    assert sum(len(re.findall(r"`test_\w+`", page.read_text())) for page in OWN) > 5


@pytest.mark.parametrize("page", OWN, ids=names(OWN))
def test_commands_exist(page: Path) -> None:
    """Each command on the page names a task there is, with options it has."""
    core = program().initial_context
    parser = Parser(initial=core, contexts=namespace.to_contexts())
    for command in dict.fromkeys(commands(page)):
        words = shlex.split(re.sub(r"[\[\]…]", "", command))
        if words[1] in LOCAL:
            assert words[0] == "deployer", command
            {"demo": demo, "sandbox": sandbox}[words[1]].parser().parse_args(words_after_dashes(words[2:])[0])
            continue
        try:
            words = joined(words[1:], CONTEXTS)
            parser.parse_argv([*with_options(words, CONTEXTS, core, bare)])
        except ParseError as error:
            pytest.fail(f"{command!r}: {error}")


def options(name: str) -> set[str]:
    """A task's options as they are typed, the long form where there is one."""
    return set(CONTEXTS[name].flags)


@pytest.mark.parametrize("name", sorted(CONTEXTS))
def test_tasks_are_documented(name: str) -> None:
    """Each task has a section in the reference, which names each of its options; those of all hosts are told once."""
    told = section(DOCS / "reference/commands.md", f"fab {'env' if name == 'env.list' else name}")
    common = COMMON if name in namespace.task_names else set()
    for option in options(name) - common:
        assert f"`{option}" in told or f"fab {name} {option.lstrip('-').upper()}" in told, f"fab {name}: {option}"


@pytest.mark.parametrize("name", LOCAL_PARSERS)
def test_commands_that_are_no_tasks_are_documented(name: str) -> None:
    """Each has a section in the reference, which names each of its options."""
    told = section(DOCS / "reference/commands.md", f"deployer {name}")
    for action in LOCAL_PARSERS[name]._actions:
        for option in {*action.option_strings} & {f"--{action.dest}"} - {"--help"}:
            assert f"`{option}" in told, f"deployer {name}: {option}"


def test_common_options_are_documented() -> None:
    """The options that every task on a host takes are those that the reference lists as such."""
    told = section(DOCS / "reference/commands.md", "Options of every task on a host")
    assert set(re.findall(r"^\| `(--[a-z-]+)", told, re.MULTILINE)) == COMMON == options("status")


@pytest.mark.parametrize("kind", NAMES, ids=NAMES.get)
def test_events_are_documented(kind: type) -> None:
    """Each event has a section in the reference that names each of its own fields."""
    told = section(DOCS / "reference/events.md", f"{NAMES[kind]}")
    for field in fields(kind):
        if field.name not in ("host", "at"):
            assert f"`{field.name}`" in told, f"{NAMES[kind]}: {field.name} is not documented"


@pytest.mark.parametrize(
    ("page", "heading"), [("README.md", "Exit codes"), ("docs/reference/exit-codes.md", "Exit codes")]
)
def test_exit_codes_are_documented(page: str, heading: str) -> None:
    """Each exit code has a row in the tables."""
    rows = re.findall(r"^\| (\d+) \|", section(ROOT / page, heading), re.MULTILINE)
    assert [int(row) for row in rows] == sorted(int(code) for code in Exit)


def test_the_page_of_deploy_toml_is_the_schemas() -> None:
    """The reference of deploy.toml is what the schema makes of itself; write it anew with the command it names."""
    assert (DOCS / "reference/deploy-toml.md").read_text() == markdown()


def test_phases_are_documented_in_their_order() -> None:
    """The explanation of the handover lists the phases as they run."""
    told = re.findall(r"^\| `([a-z]+)` \|", section(DOCS / "explanation/handover.md", "The phases"), re.MULTILINE)
    assert told == list(PHASES)


def test_unit_directives_are_documented() -> None:
    """The how-to lists each directive that deploy.toml may set, and each line of the hardening."""
    page = DOCS / "how-to/relax-the-sandbox.md"
    told = set(re.findall(r"`([A-Z]\w+)`", section(page, "What `[web.unit]` may set")))
    assert told == set(ALLOWED)
    lines = section(page, "The lines there are")
    for name, value in LINES:
        assert f"{name}={value}" in lines


@pytest.mark.parametrize("page", OWN, ids=names(OWN))
def test_tests_that_are_named_exist(page: Path) -> None:
    """Each test that a page calls a proof is there, in the file that the page links to."""
    sources = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    for name in re.findall(r"`(test_\w+)`", page.read_text()):
        assert any(f"def {name}(" in text for text in sources.values()), f"there is no test {name}"


@pytest.mark.parametrize("page", OWN, ids=names(OWN))
def test_pages_are_finished(page: Path) -> None:
    """A page has one title, nothing left to do, and no line that only its author understands."""
    text = page.read_text()
    assert len(re.findall(r"^# ", prose(page), re.MULTILINE)) == 1
    assert not re.search(r"\b(TODO|FIXME|XXX|TBD)\b", text)


def test_every_page_is_in_the_index() -> None:
    """docs/README.md links to each page."""
    linked = {(DOCS / target).resolve() for target in LINK.findall((DOCS / "README.md").read_text())}
    missing = [str(page.relative_to(DOCS)) for page in PAGES if DOCS in page.parents and page.resolve() not in linked]
    assert not [name for name in missing if name != "README.md" and "decisions" not in name]
