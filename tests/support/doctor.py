"""Examinations by the doctor in this process: `examine(environ, "database")` gives results by id."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.doctor import fixes, runner
from junkie_cli.core.doctor.checks import CHECKS
from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Result
from junkie_cli.core.progress import SILENT

PATIENCE = 4.0
"""Factor of every time limit: the machine may be busy with other tests."""


class Doctor:
    """Settings as a process would have them, and examinations of them; its folders are the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {
            "HOME": str(folder),
            "JUNKIE_DATA_DIR": str(folder / "data"),
            "JUNKIE_BACKUP_DIR": str(folder / "backups"),
            "JUNKIE_USER": "tester",
        }

    def use(self, url: DatabaseUrl | str, **more: str) -> "Doctor":
        """Name a database, and set variables."""
        self.environ |= {"POSTGRES_URL": url if isinstance(url, str) else url.libpq(), **more}
        return self

    def write(self, *lines: str, mode: int = 0o600) -> Path:
        """Write the `.env`."""
        path = self.folder / ".env"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        path.chmod(mode)
        return path

    def context(self, **options: Any) -> Context:
        """What an examination begins with."""
        given = {"patience": PATIENCE, "cwd": self.folder} | options
        return Context(dict(self.environ), **given)

    def examine(self, *ids: str, deep: bool = False, timeout: float = 60, **options: Any) -> dict[str, Result]:
        """Results by id."""
        return asyncio.run(self._examine(self.context(**options), ids, deep, timeout))

    async def _examine(self, context: Context, ids: tuple[str, ...], deep: bool, timeout: float) -> dict[str, Result]:
        report = await runner.examine(CHECKS, context, report=runner.choose(CHECKS, ids, deep=deep), timeout=timeout)
        return {result.id: result for result in report.results}

    def one(self, check_id: str, **options: Any) -> Result:
        """The result of one check."""
        return self.examine(check_id, **options)[check_id]

    def status(self, check_id: str, **options: Any) -> str:
        """The status of one check."""
        return self.one(check_id, **options).status

    def fix(self, check_id: str, **options: Any) -> list[str]:
        """Do what the check offers; what was said afterwards."""

        async def work() -> list[str]:
            context = self.context(**options)
            found = await self._examine_in(context, check_id)
            return [await fixes.apply(fix, context, SILENT) for fix in found.fixes]

        return asyncio.run(work())

    async def _examine_in(self, context: Context, check_id: str) -> Result:
        results = await self._examine(context, (check_id,), False, 60)
        return results[check_id]


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    """Settings and folders of this test alone."""
    return Doctor(tmp_path)


def assert_result(result: Result, status: str, *words: str) -> None:
    """The result has this status, and its sentence and remedy hold these words."""
    assert result.status == status, result
    for word in words:
        assert word in f"{result.detail} {result.hint}", result
    assert result.status in {"ok", "skipped"} or result.hint, result
