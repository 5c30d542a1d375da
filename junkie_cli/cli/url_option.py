"""Options that take the URL of a database."""

from typing import TYPE_CHECKING

from junkie_cli.core.errors import UsageError

if TYPE_CHECKING:
    from junkie_cli.core.database_url import DatabaseUrl


def parse_url(option: str, text: str) -> "DatabaseUrl":
    """Parse the URL given to `option`. Raises UsageError."""
    from junkie_cli.core.database_url import DatabaseUrl

    try:
        return DatabaseUrl.parse(text)
    except ValueError as error:
        hint = "use the form postgresql://USER@HOST/DATABASE; the password can be in PGPASSWORD"
        raise UsageError(f"{option} {error}", hint=hint) from None
