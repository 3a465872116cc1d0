"""The env_command: a real program here. What it prints is read; how it fails is told, without what it printed."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from deployer.config.environment.command import run_env_command
from deployer.errors import ConfigError


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def values(command: str, root: Path) -> dict[str, str]:
    return {name: value.reveal() for name, value in run_env_command(command, root).items()}


def test_dotenv_and_json_are_told_apart(tmp_path: Path) -> None:
    """JSON begins with a brace; its numbers and truth values become text as they are written."""
    assert values(python("print('A=1\\nB=\"x y\"')"), tmp_path) == {"A": "1", "B": "x y"}
    text = json.dumps({"A": "x\ny", "N": 7, "T": True, "E": ""})
    assert values(python(f"print({text!r})"), tmp_path) == {"A": "x\ny", "N": "7", "T": "true", "E": ""}


def test_it_runs_beside_deploy_toml_without_a_shell_and_without_input(tmp_path: Path) -> None:
    """Relative paths are found there; what a shell would expand stays; reading input finds its end at once."""
    (tmp_path / "secrets.env").write_text("A=from-the-file\n")
    assert values("cat secrets.env", tmp_path) == {"A": "from-the-file"}
    assert values("printf %s A=$HOME", tmp_path) == {"A": "$HOME"}
    assert values(python("import sys; print('A=' + repr(sys.stdin.read()))"), tmp_path) == {"A": ""}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "import sys; print('A=hunter2'); sys.stderr.write('vault is sealed\\n'); sys.exit(3)",
            "failed (exit status 3)",
        ),
        ("import os; print('A=hunter2', flush=True); os.kill(os.getpid(), 9)", "failed (signal 9)"),
        ("print(end='')", "it printed nothing"),
        ("import sys; sys.stdout.buffer.write(b'A=hunter2\\xff')", "not UTF-8"),
        ("print('{hunter2')", "begins as JSON, and is none"),
        ('print(\'{"A": {"b": "hunter2"}}\')', "'A' is an object"),
        ('print(\'{"A": ["hunter2"]}\')', "'A' is a list"),
        ("print('{\"A\": null}')", "'A' is null"),
        ('print(\'{"a b": "hunter2"}\')', "'a b' is not a name"),
        ('print(\'{"PATH": "hunter2"}\')', "'PATH' is set by systemd"),
        ('print(\'{"A": "hunter2\\\\u0000"}\')', "'A' has a value that holds a control character"),
        ("print('hunter2 is no line')", "env_command:1: not a line such as NAME=value"),
    ],
)
def test_what_cannot_be_used_is_refused_without_being_shown(tmp_path: Path, code: str, told: str) -> None:
    """The message says what is wrong; what was printed may be secret, and is not in it."""
    with pytest.raises(ConfigError) as caught:
        run_env_command(python(code), tmp_path)
    error = caught.value
    assert told in error.message
    assert "hunter2" not in f"{error.message}{error.state}{''.join(error.logs)}"
    assert error.state == "nothing was touched"


def test_what_it_says_on_standard_error_is_shown(tmp_path: Path) -> None:
    """That is where such programs say what they want; control characters do not reach the terminal."""
    with pytest.raises(ConfigError) as caught:
        run_env_command(python("import sys; sys.stderr.write('\\x1b[31mnot signed in\\n'); sys.exit(1)"), tmp_path)
    assert caught.value.logs == (" [31mnot signed in",)


def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    """What it said until then is shown."""
    code = "import sys, time; sys.stderr.write('password:\\n'); sys.stderr.flush(); time.sleep(60)"
    with pytest.raises(ConfigError, match=r"has not ended within 2 s") as caught:
        run_env_command(python(code), tmp_path, limit=2)
    assert caught.value.logs == ("password:",)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(ConfigError, match="'no-such-vault' is not a program on this machine"):
        run_env_command("no-such-vault read", tmp_path)
    (tmp_path / "not-executable").write_text("")
    with pytest.raises(ConfigError, match="cannot be run: Permission denied"):
        run_env_command("./not-executable", tmp_path)
