"""The prompt of a terminal that cannot move its cursor, for example TERM=dumb in an editor."""

import asyncio
import codecs
import os
import sys
from collections.abc import Callable
from typing import TextIO

from junkie_cli.conversation.symbols import symbol, write
from junkie_cli.core.sanitize import shown
from junkie_cli.terminal.style import Look


class PlainPrompt:
    """Reads lines without history, completion or color; otherwise like `Prompt`."""

    def __init__(self, stream: TextIO, look: Look) -> None:
        self._stream = stream
        self._sign = symbol(look, "prompt") + " "
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._typed = ""
        self._line: asyncio.Future[str] | None = None
        self.trouble = ""
        """Always empty: typed lines are not saved."""

    def belongs_to(self, user_id: str) -> None:
        """Do nothing: typed lines are not saved."""

    @property
    def waiting(self) -> bool:
        """Return whether a person can type now."""
        return self._line is not None

    async def read(self, draft: str = "") -> str:
        """Return the next line. Raises EOFError at Ctrl-D and when the terminal is closed."""
        if draft:
            write(self._stream, f"(not sent: {shown(draft)})\n")
        return await self._next_line("\n" + self._sign)

    def above(self, tell: Callable[[], None]) -> None:
        """Run `tell`, which prints, and show a waiting prompt again."""
        if not self.waiting:
            tell()
            return
        write(self._stream, "\n")
        tell()
        write(self._stream, "\n" + self._sign)

    async def ask(self, question: str) -> bool:
        """Ask a yes-or-no question; reading a line continues afterwards."""
        before, self._line = self._line, None
        try:
            answer = await self._next_line(f"\n{shown(question)} [y/N] ")
        except EOFError:
            answer = ""
        if before is not None:
            write(self._stream, "\n" + self._sign)
            self._listen(before)
        return answer.strip().lower() in {"y", "yes"}

    def interrupt(self) -> None:
        """Handle Ctrl-C at the prompt."""
        write(self._stream, "\npress Ctrl-D or type /exit to quit\n" + self._sign)

    async def _next_line(self, prompt: str) -> str:
        write(self._stream, prompt)
        line: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._listen(line)
        try:
            return await line
        finally:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._line = None

    def _listen(self, line: "asyncio.Future[str]") -> None:
        self._line = line
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._take)
        self._give()

    def _take(self) -> None:
        try:
            data = os.read(sys.stdin.fileno(), 65536)
        except OSError:  # the terminal was closed
            data = b""
        self._typed += self._decoder.decode(data)
        if not self._give() and not data and self._line is not None and not self._line.done():
            self._line.set_exception(EOFError())

    def _give(self) -> bool:
        """Pass the first complete line to a waiting reader."""
        if "\n" not in self._typed or self._line is None or self._line.done():
            return False
        line, _, self._typed = self._typed.partition("\n")
        self._line.set_result(line)
        return True
