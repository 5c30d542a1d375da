"""The root command: finds `commands/`, holds the global options and THE table from error to exit code.

A module in `commands/` is a command by being there: its `app` is a `typer.Typer`; a nameless one adds top-level
commands, a named one a group. `main()` is the installed script.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

from junkie_cli import __version__

if TYPE_CHECKING:
    import typer


def main() -> None:
    """Run the command line of this process and exit with its code."""
    if sys.argv[1:] == ["--version"]:  # scripts ask this often: answered before typer is loaded
        sys.stdout.write(f"junkie {__version__}\n")
        return
    sys.exit(run_command_line(sys.argv[1:]))


def run_command_line(arguments: list[str]) -> int:
    """Run `arguments`, tell any failure, and return the exit code."""
    from typer._click.exceptions import ClickException

    from junkie_cli.core.errors import ExitCode, JunkieError, UsageError
    from junkie_cli.invocation import Terminated, invocation

    invocation().json = "--json" in arguments
    try:
        result = _command()(arguments, prog_name="junkie", standalone_mode=False)
        sys.stdout.flush()
    except JunkieError as error:
        return _fail(error)
    except ClickException as error:
        return _fail(UsageError(error.format_message(), hint=_usage_hint(error)))
    except KeyboardInterrupt:
        return _interrupted(ExitCode.INTERRUPTED)
    except Terminated as ended:
        return 128 + ended.signal_number
    except BrokenPipeError:
        return _reader_left()
    return result if isinstance(result, int) else ExitCode.OK


def _command() -> Any:
    import typer

    return typer.main.get_command(build_app())


def build_app() -> "typer.Typer":
    """The whole command tree."""
    import importlib
    import pkgutil
    from pathlib import Path
    from typing import Annotated

    import typer

    from junkie_cli import commands
    from junkie_cli.invocation import invocation

    app = typer.Typer(
        name="junkie",
        help="Talk to a team that remembers, and look after what it remembers.",
        epilog="Start with: junkie chat, junkie demo, junkie doctor.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )

    def show_version(value: bool) -> None:
        if value:
            typer.echo(f"junkie {__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        env_file: Annotated[
            Path | None, typer.Option("--env-file", metavar="FILE", help="Read settings from FILE, not from a found .env.")
        ] = None,
        verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell more, on stderr.")] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell only errors and the answer.")] = False,
        version: Annotated[
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        options = invocation()
        options.env_file, options.verbose, options.quiet = env_file, verbose, quiet

    for module in pkgutil.iter_modules(commands.__path__):
        found = importlib.import_module(f"{commands.__name__}.{module.name}").app
        app.add_typer(found)
    return app


def _fail(error: Any) -> int:
    from junkie_cli.output import print_error

    print_error(error)
    return int(error.exit_code)


def _usage_hint(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"see: {context.command_path} --help" if context else "see: junkie --help"


def _interrupted(code: int) -> int:
    sys.stderr.write("\ninterrupted\n" if sys.stderr.isatty() else "interrupted\n")
    return code


def _reader_left() -> int:
    """The reader of our pipe is gone, as with `| head`: end quietly, as a program killed by SIGPIPE would look."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
