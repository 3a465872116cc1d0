"""What the sandbox says when it cannot do what was asked."""

from __future__ import annotations


class SandboxError(Exception):
    """A sandbox host could not be made, reached or removed.

    `problem` says what failed, `state` what is left on this machine, `hint` what to type next, and
    `console` holds the last lines a host printed while it booted (empty when there are none).
    """

    def __init__(self, problem: str, *, state: str = "", hint: str = "", console: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.state = state
        self.hint = hint
        self.console = console

    def __str__(self) -> str:
        lines = [self.problem]
        if self.console:
            lines += ["The console's last lines:", *(f"  {line}" for line in self.console.splitlines())]
        if self.state:
            lines.append(self.state)
        if self.hint:
            lines.append(f"Next: {self.hint}")
        return "\n".join(lines)


class SandboxCommandError(SandboxError):
    """A command run inside a sandbox host failed; `returncode`, `stdout` and `stderr` are what it left."""

    def __init__(self, problem: str, *, returncode: int, stdout: str, stderr: str) -> None:
        super().__init__(problem)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr

    def __str__(self) -> str:
        output = (self.stderr.strip() or self.stdout.strip()).splitlines()[-20:]
        return "\n".join([self.problem, *(f"  {line}" for line in output)])
