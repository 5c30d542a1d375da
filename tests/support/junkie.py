"""The installed `junkie` as a process of its own, in an environment that nothing leaks into.

`run(...)` is one call in a home that is thrown away; the `junkie` fixture keeps its home for a whole test, so that
several processes share settings, state and the embedded database, which is stopped at the end.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import memory_folder

SCRIPT = Path(sys.executable).parent / "junkie"
INHERITED = ("PATH", "LANG")  # all else is set here or absent; COVERAGE_* too, so that child processes are measured
TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a process ended; `exit_code` is negative when a signal killed it."""

    arguments: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)

    def json_lines(self) -> list[Any]:
        """The JSON Lines on stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def ok(self) -> "Result":
        """This result, having checked that the process succeeded."""
        assert self.exit_code == 0, f"junkie {' '.join(self.arguments)}: {self.exit_code}\n{self.stdout}\n{self.stderr}"
        return self


class Running:
    """A started process: wait for its words, send it signals, collect its end."""

    def __init__(self, arguments: tuple[str, ...], process: "subprocess.Popen[str]") -> None:
        self.arguments = arguments
        self.process = process
        self._said = {"stdout": "", "stderr": ""}
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, getattr(process, name)), daemon=True)
            for name in ("stdout", "stderr")
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: Any) -> None:
        for piece in iter(lambda: os.read(stream.fileno(), 65536), b""):
            with self._news:
                self._said[name] += piece.decode("utf-8", "replace")
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, text: str, *, stream: str = "stdout", timeout: float = TIMEOUT) -> str:
        """Wait until `text` was said on `stream`; returns all that was said there."""
        with self._news:
            found = self._news.wait_for(lambda: text in self._said[stream], timeout)
            said = dict(self._said)
        assert found, f"junkie {' '.join(self.arguments)} did not say {text!r} in {timeout} s, but: {said}"
        return said[stream]

    def write(self, text: str) -> None:
        """Send `text` to stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def wait(self, timeout: float = TIMEOUT) -> Result:
        """Wait for the end."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        self.process.wait(timeout)
        for reader in self._readers:
            reader.join(10)
        self._close()
        return Result(self.arguments, self.process.returncode, self._said["stdout"], self._said["stderr"])

    def kill(self) -> None:
        """End the process at once if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        self._close()

    def _close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


class Junkie:
    """`junkie` with a home of its own: `root/home`, and `root/d` as JUNKIE_DATA_DIR (short, for socket paths)."""

    def __init__(self, root: Path, env: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.home = root / "home"
        self.cwd = self.home / "work"
        self.data_dir = root / "d"
        self.backup_dir = root / "b"
        self.cwd.mkdir(parents=True)
        self._extra = dict(env or {})
        self._running: list[Running] = []
        self._terminals: list[Any] = []

    def environment(self, env: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """The process' whole environment; `env` adds to it, None takes a variable away."""
        whole: dict[str, str | None] = {name: os.environ.get(name) for name in INHERITED}
        whole |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        memory = memory_folder()
        whole |= {
            "TMPDIR": str(memory) if memory else None,  # servers that prove a backup or show the demo
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "JUNKIE_DATA_DIR": str(self.data_dir),
            "JUNKIE_BACKUP_DIR": str(self.backup_dir),
            "JUNKIE_USER": "tester",
        }
        whole |= self._extra | dict(env or {})
        return {name: value for name, value in whole.items() if value is not None}

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        input: str | None = None,
        cwd: Path | None = None,
        timeout: float = TIMEOUT,
        prefix: Sequence[str] = (),
    ) -> Result:
        """Run to the end, by the program `prefix` if there is one. stdin is `input`; there is never a terminal."""
        done = subprocess.run(
            [*prefix, SCRIPT, *arguments],
            input=input or "",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=self.environment(env),
            cwd=cwd or self.cwd,
            timeout=timeout,
            check=False,
            start_new_session=True,
        )
        return Result(arguments, done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, env: Mapping[str, str | None] | None = None, cwd: Path | None = None) -> Running:
        """Start without waiting, for signals and for talking to it; it is killed when the test ends."""
        process = subprocess.Popen(
            [SCRIPT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=self.environment(env),
            cwd=cwd or self.cwd,
            start_new_session=True,
        )
        return self.adopt(Running(arguments, process))

    def adopt(self, running: Running) -> Running:
        """Have a process that was started elsewhere killed when the test ends."""
        self._running.append(running)
        return running

    def terminal(
        self,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        columns: int = 80,
        lines: int = 24,
        timeout: float = TIMEOUT,
    ) -> Any:
        """Start in a pseudo-terminal, as a person would; returns a pexpect child that speaks str."""
        import pexpect

        child = pexpect.spawn(
            str(SCRIPT),
            list(arguments),
            env=self.environment({"TERM": "xterm-256color"} | dict(env or {})),
            cwd=str(cwd or self.cwd),
            dimensions=(lines, columns),
            timeout=timeout,
            encoding="utf-8",
            codec_errors="replace",
        )
        child.delaybeforesend = None
        self._terminals.append(child)
        return child

    def close(self) -> None:
        """Kill what still runs, stop the embedded server, remove the home."""
        for running in self._running:
            running.kill()
        for child in self._terminals:
            child.close(force=True)
        if any(self.data_dir.rglob("postmaster.pid")):
            stop = "import asyncio, pathlib, sys; from junkie_cli.core import embedded; "
            stop += "asyncio.run(embedded.stop(pathlib.Path(sys.argv[1])))"
            subprocess.run([sys.executable, "-c", stop, str(self.data_dir)], check=False, timeout=60)
        shutil.rmtree(self.root, ignore_errors=True)


def new_junkie(env: Mapping[str, str] | None = None) -> Junkie:
    """A `junkie` in a new home; the caller closes it."""
    root = Path(tempfile.mkdtemp(prefix="jk", dir="/tmp"))
    root.chmod(0o755)  # as root, the embedded server runs as another user, who must reach its data folder
    return Junkie(root, env)


def run(
    *arguments: str,
    env: Mapping[str, str | None] | None = None,
    input: str | None = None,
    cwd: Path | None = None,
    timeout: float = TIMEOUT,
) -> Result:
    """One call in a home that is thrown away."""
    junkie = new_junkie()
    try:
        return junkie.run(*arguments, env=env, input=input, cwd=cwd, timeout=timeout)
    finally:
        junkie.close()


@pytest.fixture
def junkie() -> Iterator[Junkie]:
    """The installed script with a home that lasts for this test."""
    junkie = new_junkie()
    yield junkie
    junkie.close()
