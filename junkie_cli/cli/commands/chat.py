"""`junkie chat`: talk to the team that remembers."""

from typing import Annotated

import typer

from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import UserOption, YesOption, invocation

app = typer.Typer()

_EXAMPLES = """\
Examples:

junkie chat

junkie chat "What do you remember about me?"

git diff | junkie chat "Explain this change"
"""


@app.command(epilog=_EXAMPLES)
def chat(
    message: Annotated[
        str | None, typer.Argument(metavar="[MESSAGE]", help="What to say; text on stdin is put behind it.")
    ] = None,
    user: UserOption = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            "-s",
            metavar="SESSION",
            help="Go on with this session, or begin it.",
            autocompletion=completion.session_ids,
        ),
    ] = None,
    continue_latest: Annotated[bool, typer.Option("--continue", "-c", help="Go on with your latest session.")] = False,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="Model that answers.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Rehearse: no key, no network, no real model.")] = False,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Use no memories and make none.")] = False,
    no_database: Annotated[bool, typer.Option("--no-database", help="Keep nothing at all.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON Lines, one object an event, for scripts.")] = False,
    yes: YesOption = False,
) -> None:
    """Talk to a team that remembers you: without MESSAGE in a conversation, with it for one answer."""
    from junkie_cli.conversation.entry import talk
    from junkie_cli.conversation.options import Options

    options = Options(
        message=message,
        user=user,
        session=session,
        continue_latest=continue_latest,
        model=model,
        offline=offline,
        memory=not no_memory,
        database=not no_database,
        yes=yes,
    )
    invocation().json = json
    talk(options, invocation())
