"""What people and programs see: tables at every width, pipes without loss, questions that only people are asked."""

import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core import formatting
from junkie_cli.core.errors import DeclinedError, JunkieError, NotFoundError, UsageError
from junkie_cli.core.sanitize import unescape_field, width
from junkie_cli.terminal import charts, invocation, output, progress
from junkie_cli.terminal.output import Column
from junkie_cli.terminal.style import Look, columns_of, plain
from tests.support.terminal import Terminal, replace_streams
from tests.support.texts import texts

pytestmark = pytest.mark.usefixtures("fresh_invocation")

NOW = datetime.now(UTC)


@dataclass
class Row:
    id: str = "36d03949-ce7f-4863-a93f-e0500d84c6ed"
    memory: str | None = "Likes green tea in the morning, no sugar, and takes it outside when the sun is up"
    topics: list[str] = field(default_factory=lambda: ["drink", "tea"])
    count: int | None = 1234567
    size: int = 1536
    at: datetime | None = NOW - timedelta(hours=3, minutes=1)


MEMORIES = (
    Column("ID", lambda row: row.id, "id"),
    Column("MEMORY", lambda row: row.memory),
    Column("TOPICS", lambda row: row.topics),
    Column("UPDATED", lambda row: row.at, "time"),
)
USERS = (
    Column("USER", lambda row: row.id, "id"),
    Column("MEMORIES", lambda row: row.count, "number"),
    Column("SIZE", lambda row: row.size, "bytes"),
    Column("LAST ACTIVE", lambda row: row.at, "time"),
)


def drawn(monkeypatch: pytest.MonkeyPatch, columns: int, *args: Any, **options: Any) -> list[str]:
    streams = replace_streams(monkeypatch, columns=columns)
    output.print_rows(*args, **options)
    return streams.out.getvalue().splitlines()


def piped(monkeypatch: pytest.MonkeyPatch, *args: Any, **options: Any) -> str:
    streams = replace_streams(monkeypatch, out=io.StringIO())
    output.print_rows(*args, **options)
    return streams.out.getvalue()


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(), Row(memory="短い", topics=[])]
    lines = drawn(monkeypatch, 100, MEMORIES, rows, title="Memories of 42", database="db")
    assert [plain(line) for line in lines] == [
        "Memories of 42 · db",
        "",
        "ID                                    MEMORY                                     TOPICS      UPDATED",
        "36d03949-ce7f-4863-a93f-e0500d84c6ed  Likes green tea in the morning, no sugar…  drink, tea  3 h ago",
        "36d03949-ce7f-4863-a93f-e0500d84c6ed  短い                                                   3 h ago",
    ]
    assert lines[0] == "\x1b[1mMemories of 42\x1b[0m\x1b[2m · db\x1b[0m"


def test_a_narrow_terminal_gets_paragraphs_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(
        monkeypatch,
        60,
        MEMORIES,
        [Row()],
        title="Memories of 42",
        database="embedded PostgreSQL in /home/ada/.local/share/junkie",
    )
    assert [plain(line) for line in lines] == [
        "Memories of 42",
        "embedded PostgreSQL in /home/ada/.local/share/junkie",
        "",
        "Likes green tea in the morning, no sugar, and takes it outs…",
        "  36d03949-ce7f-4863-a93f-e0500d84c6ed · drink, tea",
        "  3 h ago",
    ]


def test_numbers_are_aligned_to_the_right_and_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch, 80, USERS, [Row(id="ada"), Row(id="bob", count=None, size=3, at=None)])
    assert [plain(line) for line in lines] == [
        "USER   MEMORIES    SIZE  LAST ACTIVE",
        "ada   1,234,567  1.5 kB  3 h ago",
        "bob           –     3 B  –",
    ]


def test_numbers_keep_their_names_in_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch, 60, USERS, [Row(id="u" * 59)])
    assert [plain(line) for line in lines] == ["u" * 59, "  1,234,567 memories · 1.5 kB size · 3 h ago"]


def test_a_paragraph_is_headed_by_the_column_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (Column("NAME", lambda row: row[0], "id", main=True), Column("VALUE", lambda row: row[1]))
    lines = drawn(monkeypatch, 40, columns, [("n" * 30, "v" * 25)])
    assert [plain(line) for line in lines] == ["n" * 30, "  " + "v" * 25]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 200])
def test_every_width_is_kept_and_ids_are_never_cut(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    rows = [
        Row(),
        Row(memory="漢字👩‍🚀" * 99),
        Row(memory="\x1b[31m\u202e[/][link=x]" * 9),
        Row(memory=None, topics=["t" * 99]),
    ]
    lines = drawn(monkeypatch, columns, MEMORIES, rows, title="T" * 300, database="d" * 300, footer="f" * 300)
    assert all(width(plain(line)) <= max(columns, 38) for line in lines)
    assert sum(Row().id in line for line in lines) == 4
    assert not any("\u202e" in line or "\x1b[31" in line for line in lines)


@given(st.lists(st.builds(Row, id=texts(max_size=20), memory=texts(max_size=50)), max_size=4), st.integers(20, 200))
def test_no_row_breaks_the_layout(rows: list[Row], columns: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        lines = drawn(monkeypatch, columns, MEMORIES, rows)
    assert not any(control in plain(line) for line in lines for control in "\x1b\x07\x9b\t\r\u202e")
    assert len(lines) in {1 + len(rows), *range(len(rows), 4 * len(rows) + 1)}


def test_markup_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch, 200, MEMORIES, [Row(memory="[/] [bold]x[/bold] [link=https://e.example]y[/link]")])
    assert "[/] [bold]x[/bold] [link=https://e.example]y[/link]" in lines[1]


def test_nothing_found_is_a_note_and_not_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    output.print_rows(MEMORIES, [], title="Memories", empty="no memories")
    assert (streams.out.getvalue(), streams.err.getvalue()) == ("", "no memories\n")
    streams = replace_streams(monkeypatch, out=io.StringIO())
    output.print_rows(MEMORIES, iter(()), title="Memories", empty="no memories")
    assert (streams.out.getvalue(), streams.err.getvalue()) == ("", "no memories\n")


def test_a_pipe_gets_everything_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    at = datetime(2025, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
    row = Row(memory="a\tb\nc\\d\x1b\u202e" + "x" * 500, at=at)
    columns = (*MEMORIES, Column("N", lambda row: row.count, "number"), Column("S", lambda row: row.size, "bytes"))
    line = piped(monkeypatch, columns, [row], title="T", database="d", footer="f")
    fields = line.removesuffix("\n").split("\t")
    assert [unescape_field(each) for each in fields] == [
        row.id, row.memory, "drink, tea", "2025-01-02T01:04:05.000678Z", "1234567", "1536"
    ]  # fmt: skip
    assert "\x1b" not in line


def test_what_is_not_there_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (Column("A", lambda _: None), Column("B", lambda _: None, null="\\N"), Column("C", lambda _: True))
    assert piped(monkeypatch, columns, [1]) == "\t\\N\ttrue\n"


def test_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    pairs = [
        ("ID", "m1", "id"), ("Memory", "one two three four five six\n[/]"), ("From message", None),
        ("Bytes", 2048, "bytes"), ("Created", datetime(2020, 7, 1, tzinfo=UTC)),
    ]  # fmt: skip
    streams = replace_streams(monkeypatch, columns=30)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    output.print_record(pairs, title="Memory")
    assert plain(streams.out.getvalue()) == (
        "Memory\n\n"
        "ID            m1\n"
        "Memory        one two three\n"
        "              four five six\n"
        "              [/]\n"
        "From message  –\n"
        "Bytes         2.0 kB\n"
        "Created       2020-07-01\n"
        "              02:00:00 CEST\n"
    )
    streams = replace_streams(monkeypatch, out=io.StringIO())
    output.print_record(pairs)
    assert streams.out.getvalue().splitlines() == [
        "id\tm1",
        "memory\tone two three four five six\\n[/]",
        "from_message\t",
        "bytes\t2048",
        "created\t2020-07-01T00:00:00Z",
    ]
    time.tzset()


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_json_is_one_line_without_colour_and_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    document = {"memory": "\x1b[31m\x9b\u202e漢字😀\ud800", "at": datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), "no": None}
    output.print_json(document)
    text = streams.out.getvalue()
    assert text.count("\n") == 1
    assert not set(text) & set("\x1b\x9b\u202e\ud800")
    assert "漢字😀" in text
    assert json.loads(text) == {**document, "at": "2025-01-02T03:04:05Z"}


def test_errors_are_reported_twice_with_json(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    invocation.invocation().json = True
    output.print_error(NotFoundError("no such memory: \x1b[2J", hint="see: junkie memories list"))
    assert json.loads(streams.out.getvalue()) == {
        "error": {"code": "not_found", "message": "no such memory: \x1b[2J", "hint": "see: junkie memories list"}
    }
    assert plain(streams.err.getvalue()) == "error: no such memory: \\x1b[2J\n  see: junkie memories list\n"


def test_a_command_may_shape_its_error_line(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    invocation.invocation().json = True
    invocation.invocation().error_document = lambda error: {"event": "done", "error": error}
    output.print_error(NotFoundError("no"))
    invocation.invocation().error_document = lambda error: None
    output.print_error(NotFoundError("no"))
    assert json.loads(streams.out.getvalue())["event"] == "done"


# --- looks ------------------------------------------------------------------------------------------------------------


def test_colour_is_off_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_streams(monkeypatch)
    assert output.colour_wanted()
    for name, value, wanted in (("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False)):
        replace_streams(monkeypatch)
        monkeypatch.setenv(name, value)
        assert output.colour_wanted() is wanted, (name, value)
    replace_streams(monkeypatch, out=io.StringIO())
    assert not output.colour_wanted()


def test_a_dumb_terminal_gets_no_escape_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    output.print_rows(MEMORIES, [Row()], title="T")
    output.warn("careful")
    with output.progress("working") as activity:
        activity.advance()
    assert "\x1b" not in streams.out.getvalue() + streams.err.getvalue()


def test_what_the_encoding_lacks_is_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    monkeypatch.setattr(Terminal, "encoding", "latin-1")
    output.print_rows(MEMORIES, [Row(memory="漢 é", topics=[])])
    assert "? é" in streams.out.getvalue()
    assert Look.of(sys.stdout).symbol("ellipsis") == "..."


def test_columns_are_those_that_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert columns_of(sys.stdout, {"COLUMNS": "133"}) == 133
    assert columns_of(sys.stdout, {"COLUMNS": "3"}) == 20
    assert columns_of(sys.stdout, {"COLUMNS": "many"}) >= 20


def test_counting_in_words() -> None:
    assert formatting.plural(1, "memory", "memories") == "1 memory"
    assert formatting.plural(2000, "memory", "memories") == "2,000 memories"
    assert formatting.plural(0, "row") == "0 rows"


def test_figures() -> None:
    assert [formatting.size(n) for n in (0, 1023, 1024, 1536, 10_240, 123_456_789, 5 * 1024**3, 10**18)] == [
        "0 B", "1,023 B", "1.0 kB", "1.5 kB", "10 kB", "118 MB", "5.0 GB", "909,495 TB"
    ]  # fmt: skip
    at = datetime(2025, 6, 1, tzinfo=UTC)
    ages = {
        5: "just now",
        60: "1 min ago",
        3599: "59 min ago",
        7200: "2 h ago",
        86_400 * 29: "29 d ago",
        -7200: "in 2 h",
    }
    assert {seconds: formatting.ago(at - timedelta(seconds=seconds), at) for seconds in ages} == ages
    assert formatting.ago(at - timedelta(days=40), at).startswith("2025-04-2")
    assert formatting.ago(at.replace(tzinfo=None), at) == "just now"
    assert [formatting.duration(s) for s in (0.42, 9.96, 61, 7260)] == ["0.4 s", "10 s", "1 min 1 s", "2 h 1 min"]
    assert [formatting.clock(s) for s in (5, 754, 3723)] == ["0:05", "12:34", "1:02:03"]
    assert formatting.number(1234.5) == "1,234.50"


def test_bars_and_sparklines() -> None:
    assert charts.bar(10, 10, 5) == "█████"
    assert charts.bar(0, 10, 5) == ""
    assert charts.bar(1, 1_000_000, 5) == "▏"
    assert charts.bar(5, 10, 5) == "██▌"
    assert charts.bar(99, 10, 5) == "█████"
    assert charts.bar(1, 0, 5) == ""
    assert charts.bar(5, 10, 4, unicode=False) == "##"
    assert charts.sparkline([0, 1, 2, 4]) == "▁▃▅█"
    assert charts.sparkline([]) == ""
    assert charts.sparkline([0, 0]) == "▁▁"


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.integers(1, 50))
def test_bars_stay_inside_their_width(value: float, maximum: float, columns: int) -> None:
    assert width(charts.bar(value, maximum, columns)) <= columns


# --- progress ---------------------------------------------------------------------------------------------------------


def ticks(*times: float) -> Iterator[float]:
    yield from times
    while True:
        yield times[-1]


def test_a_paragraph_without_its_main_text_is_headed_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (*MEMORIES, Column("CREATED", lambda row: row.at, "time"))
    lines = drawn(monkeypatch, 40, columns, [Row(memory=None, topics=["t" * 60])])
    assert plain(lines[0]).startswith("ttt")
    lines = [plain(line) for line in drawn(monkeypatch, 40, columns, [Row(memory=None, topics=[])])]
    assert lines[0] == "36d03949-ce7f-4863-a93f-e0500d84c6ed"
    assert " ".join(" ".join(lines[1:]).replace("·", "").split()) == "updated 3 h ago created 3 h ago"


def test_a_step_that_can_be_counted_has_a_bar_of_its_own() -> None:
    seconds = [0.0]
    activity = progress.Activity("verifying", counted=False, unit="bytes", clock=lambda: seconds[0])
    seconds[0] = 10.0
    assert activity.line(Look(), 80).endswith("verifying  0:10")
    activity.say("restoring it")
    activity.reach(1 << 20, 10 << 20)
    seconds[0] = 12.0
    activity.reach(5 << 20, 10 << 20)
    line = activity.line(Look(), 100)
    assert "restoring it" in line
    assert "50%  5.0 MB of 10 MB  2.0 MB/s  ETA 0:02" in line  # of this step alone
    assert "█" in line
    activity.say("putting it in place")
    assert activity.line(Look(), 80).endswith("putting it in place  0:12")


def test_a_line_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ticks(0.0, 2.0)
    activity = progress.Activity("exporting", 1000, unit="memories", clock=lambda: next(clock))
    activity.advance(500)
    line = plain(activity.line(Look(unicode=True), 100))
    assert line == "⠙ exporting  ████████████────────────  50%  500 of 1,000 memories  250/s  ETA 0:02"
    assert plain(activity.line(Look(unicode=False), 50)) == "- exporting  50%  500 of 1,000 memories  250/s"


def test_a_slow_rate_is_reported_by_the_minute_and_counts_what_this_run_did() -> None:
    clock = ticks(0.0, 120.0)
    activity = progress.Activity("learning", unit="lines", clock=lambda: next(clock))
    activity.reach(100, 160, 40)  # forty of them were learned by an earlier run
    assert "100 of 160 lines  30/min  ETA 2:00" in plain(activity.line(Look(unicode=True), 100))


def test_a_wait_is_shown_in_seconds_and_begins_again_with_each_step() -> None:
    now = 0.0
    activity = progress.Activity("learning", 10, unit="lines", clock=lambda: now)
    activity.waits_for("a\x1b[2Jserver")
    now = 4.0
    assert "waiting" not in activity.line(Look(), 100)
    now = 7.0
    activity.waits_for("a\x1b[2Jserver")
    assert "learning, waiting 7 s for a" in activity.line(Look(), 100)
    assert "\x1b[2J" not in activity.line(Look(), 100)
    activity.reach(1)
    assert "waiting" not in activity.line(Look(), 100)
    now = 20.0
    activity.waits_for("another server")
    now = 26.0
    assert "learning, waiting 6 s for another server" in activity.line(Look(), 100)
    activity.waits_for(None)
    assert "waiting" not in activity.line(Look(), 100)


@pytest.mark.parametrize("columns", range(20, 140, 7))
def test_progress_fits_any_width(columns: int) -> None:
    for total, unit in ((None, ""), (7_000_000, "memories"), (10**12, "bytes")):
        activity = progress.Activity("exporting 漢字" * 3, total, unit=unit)
        activity.reach(123_456)
        assert width(plain(activity.line(Look(unicode=True), columns))) <= columns
        assert activity.line(Look(unicode=True), columns)


def test_progress_comes_after_its_delay_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    with progress.Activity("quick", delay=60):
        pass
    assert streams.err.getvalue() == ""
    with progress.Activity("slow", counted=False, delay=0) as activity:
        wait_for(lambda: "slow" in streams.err.getvalue())
        activity.say("slower")
        wait_for(lambda: "slower" in streams.err.getvalue())
        output.note("a note")
        assert "\r\x1b[2Ka note\n" in streams.err.getvalue()
        wait_for(lambda: streams.err.getvalue().rpartition("a note\n")[2] != "")
    assert streams.err.getvalue().endswith("\r\x1b[2K")


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_progress_in_pipes_or_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    invocation.invocation().quiet = True
    with progress.Activity("x", delay=0) as activity:
        assert not activity._over.wait(0.05)
    assert streams.err.getvalue() == ""
    invocation.invocation().quiet = False
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.Activity("x", delay=0) as activity:
        assert not activity._over.wait(0.05)
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_remarks(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    output.note("a \x1b[31mnote")
    output.debug("unheard")
    output.warn("careful")
    invocation.invocation().quiet = True
    output.note("unheard")
    output.warn("still")
    invocation.invocation().verbose = True
    output.debug("heard")
    assert plain(streams.err.getvalue()) == "a \\x1b[31mnote\nwarning: careful\nwarning: still\nheard\n"
    assert streams.out.getvalue() == ""


# --- questions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_remarks_are_broken_between_words_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    words = "the server at the other end does not answer " * 3
    error = JunkieError(words.strip(), hint=words.strip())
    shown = replace_streams(monkeypatch, columns=columns)
    output.print_error(error)
    output.warn(words.strip())
    lines = plain(shown.err.getvalue()).splitlines()
    assert all(width(line) <= columns for line in lines)
    assert " ".join(" ".join(lines).split()) == " ".join(f"error: {words}{words}warning: {words}".split())
    hint = [line for line in lines if line.startswith("  ")]
    assert len(hint) > 1 and " ".join(" ".join(hint).split()) == words.strip()

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    output.print_error(error)
    assert sys.stderr.getvalue() == f"error: {words.strip()}\n  {words.strip()}\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_yes_is_yes(monkeypatch: pytest.MonkeyPatch, typed: str, answer: bool) -> None:
    streams = replace_streams(monkeypatch, stdin=typed)
    assert output.confirm("delete \x1b[2J?", yes=False) is answer
    assert streams.err.getvalue().startswith("delete \\x1b[2J? [y/N] ")
    assert streams.out.getvalue() == ""


def test_unattended_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch)
    assert output.confirm("delete?", yes=True)
    for ask in (
        lambda: output.confirm("delete?", yes=False),
        lambda: output.require_confirmation("delete?", yes=False),
        lambda: output.confirm_typed("delete?", "db"),
        lambda: output.ask("name"),
    ):
        with pytest.raises(UsageError):
            ask()
    replace_streams(monkeypatch, stdin="y\n")
    invocation.invocation().json = True
    with pytest.raises(UsageError, match="needs --yes"):
        output.confirm("delete?", yes=False)
    assert streams.err.getvalue() == ""


def test_a_no_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_streams(monkeypatch, stdin="n\n")
    with pytest.raises(DeclinedError, match="nothing was deleted"):
        output.require_confirmation("delete?", yes=False, declined="nothing was deleted")


def test_severe_things_want_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch, stdin="botdb\n")
    output.confirm_typed("clear everything?", "botdb")
    assert streams.err.getvalue() == "clear everything?\ntype botdb to continue: "
    for typed in ("botd\n", "y\n", "\n", ""):
        replace_streams(monkeypatch, stdin=typed)
        with pytest.raises(DeclinedError):
            output.confirm_typed("clear everything?", "botdb")
    replace_streams(monkeypatch)
    output.confirm_typed("clear everything?", "botdb", given="botdb")
    with pytest.raises(UsageError, match="--confirm does not match: the name is botdb"):
        output.confirm_typed("clear everything?", "botdb", given="other")


def test_lines_are_asked_for_with_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = replace_streams(monkeypatch, stdin="\n  Ada \n")
    assert output.ask("user", default="me") == "me"
    assert output.ask("user", default="secret", shown_default="***") == "Ada"
    assert streams.err.getvalue() == "user [me]: user [***]: "
    with pytest.raises(DeclinedError):
        output.ask("user")
