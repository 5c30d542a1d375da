"""All checks, in the order of dependence in which they are shown."""

from junkie_cli.core.doctor import backup, bot, database, memory, privacy, provider, rows, schema, settings
from junkie_cli.core.doctor.model import Check

CHECKS: tuple[Check, ...] = (
    *settings.CHECKS,
    *provider.CHECKS,
    *database.CHECKS,
    *schema.CHECKS,
    *memory.CHECKS,
    *rows.CHECKS,
    *backup.CHECKS,
    *bot.CHECKS,
    *privacy.CHECKS,
)
