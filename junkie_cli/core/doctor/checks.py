"""Lists all checks in display order, dependencies first."""

from junkie_cli.core.doctor import backup, bot, database, embedded, memory, privacy, provider, rows, schema, settings
from junkie_cli.core.doctor.model import Check

CHECKS: tuple[Check, ...] = (
    *settings.CHECKS,
    *provider.CHECKS,
    *database.CHECKS,
    *embedded.CHECKS,
    *schema.CHECKS,
    *memory.CHECKS,
    *rows.CHECKS,
    *backup.CHECKS,
    *bot.CHECKS,
    *privacy.CHECKS,
)
