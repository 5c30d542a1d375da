"""Checks of what could leave this machine unasked."""

from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, Finding, failed, ok, warning

# What the openai client and agno look for by themselves, whatever address they are given.
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
        return failed("agno's telemetry is on in the team as built", "report it: this must not be", blocks=False)
    wish = context.environ.get("AGNO_TELEMETRY", "").strip().lower()
    if wish in {"true", "1", "yes", "on"}:
        return warning(
            "the environment switches agno's telemetry on: junkie overrules it, the bot does not",
            "unset AGNO_TELEMETRY, or set AGNO_TELEMETRY=false",
        )
    return ok("agno's is off: in the team, in its members, in this process")


async def _keys(context: Context) -> Finding:
    found = [name for name in _PICKED_UP if context.environ.get(name, "").strip()]
    if not found:
        return ok("the environment holds none that a client would pick up")
    names = ", ".join(found)
    return warning(
        f"{names} in the environment: other programs with the openai client send it to whatever address they are given "
        "(junkie takes it out of its own environment first)",
        f"unset {' '.join(found)}, and set it only for the program that needs it",
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
