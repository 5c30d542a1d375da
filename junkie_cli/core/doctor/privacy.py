"""Checks of data that could leave this machine: telemetry, and keys of other vendors."""

from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, Finding, failed, ok, warning

# Variables that the openai client and agno read by themselves, for any address.
_PICKED_UP = (
    *("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_BASE_URL"),
    *("OPENAI_CUSTOM_HEADERS", "AGNO_API_KEY"),
)


async def _telemetry(context: Context) -> Finding:
    from junkie_cli.core.doctor.team import load_team

    await load_team()
    from junkie_cli.core.agent import doctor_probes

    facts = await doctor_probes.describe_team(context.settings, offline=True)
    if facts.telemetry:
        return failed("agno's telemetry is on in the team", "please report this as a bug", blocks=False)
    wish = context.environ.get("AGNO_TELEMETRY", "").strip().lower()
    if wish in {"true", "1", "yes", "on"}:
        return warning(
            "the environment switches agno's telemetry on; junkie overrides it, the bot does not",
            "unset AGNO_TELEMETRY, or set AGNO_TELEMETRY=false",
        )
    return ok("off in the team, in its members, and in this process")


async def _keys(context: Context) -> Finding:
    found = [name for name in _PICKED_UP if context.environ.get(name, "").strip()]
    if not found:
        return ok("no keys in the environment that a client library would use")
    names = ", ".join(found)
    return warning(
        f"{names} in the environment: other programs that use the openai client send it to any configured address "
        "(junkie removes it from its own environment)",
        f"unset {' '.join(found)}, and set it only for programs that need it",
    )


CHECKS = (
    Check(
        "privacy.telemetry",
        "Telemetry",
        _telemetry,
        needs=("settings.values",),
        limit=12,
        about="agno's telemetry is off",
        advice="Unset `AGNO_TELEMETRY`",
    ),
    Check(
        "privacy.keys",
        "Other vendors' keys",
        _keys,
        about="No keys of other vendors that a client library would pick up",
        advice="Unset them where they are not needed",
    ),
)
