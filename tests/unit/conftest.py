"""What a command line sets for its process is unset for each test that asks for it."""

import pytest

from junkie_cli.terminal import invocation


@pytest.fixture
def fresh_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    """No option was given yet."""
    monkeypatch.setattr(invocation, "_current", invocation.Invocation())
