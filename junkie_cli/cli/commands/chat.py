"""`junkie chat`: start a conversation, or ask one question."""

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
        str | None, typer.Argument(metavar="[MESSAGE]", help="Message to send; text from stdin is appended.")
    ] = None,
    user: UserOption = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            "-s",
            metavar="SESSION",
            help="Continue this session, or start it.",
            autocompletion=completion.session_ids,
        ),
    ] = None,
    continue_latest: Annotated[bool, typer.Option("--continue", "-c", help="Continue your latest session.")] = False,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="Chat model to use.")] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use the built-in rehearsal model: no key, no network.")
    ] = False,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Neither use nor create memories.")] = False,
    no_database: Annotated[bool, typer.Option("--no-database", help="Store nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON Lines, one object for each event.")] = False,
    yes: YesOption = False,
) -> None:
    """Chat with a team that remembers you. With MESSAGE, print one answer and exit."""
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
