"""The floor of a prompt: typer has parsed the command line, rich has printed."""

import typer

app = typer.Typer()


@app.command()
def talk() -> None:
    from rich.console import Console

    console = Console()
    console.print("[bold]junkie[/] ready")
    console.print("› ", end="")
    input()


if __name__ == "__main__":
    app()
