"""Runs every command on a database and checks, as a superuser, that what was reported is what is there.

The invariants: no row of another person changes; a command is refused only for a reason that a property of the database
gives, with its code and a sentence of its own, and changes nothing then; what is counted is what is there; a dry run
counts what the run does; an export is complete; undo restores the same content; a backup is verified, or unverified
with a reason that a property gives; every document fits its schema; nothing ends as a bug.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tests.support import schemas
from tests.support.junkie import Junkie, Result
from tests.zoo.specimen import OTHER, PERSON, Snapshot, Specimen

EXIT_CODES = {0, 1, 2, 3, 4, 5, 7}
READS = (
    "memories list",
    "memories search tea",
    "memories history",
    "memories pending",
    "users list",
    "sessions list",
    "sessions show channel-7",
    "stats",
    "doctor --timeout 300",
)
WITHOUT_PROVIDER = {"groq.key"}
"""Checks of doctor that fail because no model provider is configured here."""
NAMES = {  # what Property.refuses calls a command
    "memories export": "export",
    "memories import": "import",
    "memories add": "add",
    "memories edit": "edit",
    "memories delete": "delete",
    "memories clear": "clear",
    "memories undo": "undo",
    "users export": "export",
    "users erase": "erase",
    "sessions delete": "sessions",
    "doctor --timeout": "doctor",
    "backup --json": "backup",
    "backup verify": "verify",
    "restore latest": "restore",
}


class Fault(AssertionError):
    """Invariants that do not hold."""


class Exercise:
    """One specimen, and every command on it; `faults` are what did not hold."""

    def __init__(self, junkie: Junkie, found: Specimen, env: Mapping[str, Any]) -> None:
        self.junkie, self.found, self.env = junkie, found, dict(env)
        self.faults: list[str] = []
        self.refused: list[str] = []
        self.backed_up: Counter[str] = Counter()

    def run(self, command: str) -> Result:
        """Run a command with --json: it succeeds, or is refused for a reason that a property of the database gives."""
        done = self.junkie.run(*command.split(), "--json", env=self.env)
        self.hold(done.exit_code in EXIT_CODES, f"exit code {done.exit_code}", done)
        self.hold("refused a statement (" not in done.stderr + done.stdout, "a refusal without a sentence", done)
        try:
            document = done.json()
        except ValueError:
            self.hold(False, "no document", done)
            return Result(done.arguments, done.exit_code or 1, '{"error": {"code": "", "message": ""}}', done.stderr)
        self._check_document(command, document, done)
        return done

    def _check_document(self, command: str, document: Any, done: Result) -> None:
        refused = "error" in document
        words = command.split("-")[0].split()
        name = next(name for name in (".".join(words[:2]), words[0]) if name in schemas.names())
        try:
            schemas.validate(document, "error" if refused else name)
        except AssertionError as error:
            self.hold(False, str(error), done)
        if not refused:
            self.hold(done.exit_code == 0 or words[0] == "doctor", "exit code without an error", done)
            return
        code = document["error"]["code"]
        self.hold(done.exit_code != 0, "exit code 0 with an error", done)
        self.hold(self.may(self._action(done), code), f"refused without a reason ({code})", done)
        self.refused.append(f"{command}: {code}: {document['error']['message']}")

    def _action(self, done: Result) -> str:
        return NAMES.get(" ".join(done.arguments[:2]), "read")

    def may(self, action: str, code: str) -> bool:
        """Whether a property of this database lets `action` end with `code`."""
        return any((action, code) in entry.reasons for entry in self.found.properties)

    def hold(self, true: bool, what: str, done: Result | None = None) -> None:
        """Note a fault with all that is known unless `true`."""
        if true:
            return
        shown = [f"$ junkie {' '.join(done.arguments)}", done.stdout[-1500:], done.stderr[-1500:]] if done else []
        self.faults.append("\n".join([what, *shown]))

    def unchanged(self, before: Snapshot, done: Result) -> None:
        """The database is as it was."""
        different = before.difference(self.found.snapshot())
        self.hold(not different, f"changed: {different[:5]}", done)

    def change(self, command: str) -> tuple[dict[str, Any] | None, Result, Snapshot, Snapshot]:
        """A command that changes: its document (None: refused), what was there, what is there.

        No row of another person is another one now; refused, nothing is.
        """
        before = self.found.snapshot()
        done = self.run(command)
        if done.exit_code:
            self.unchanged(before, done)
            return None, done, before, before
        after = self.found.snapshot()
        different = before.others(PERSON).difference(after.others(PERSON))
        self.hold(not different, f"others' rows changed: {different[:5]}", done)
        return done.json(), done, before, after

    def counted(self, reported: Any, actual: Any, done: Result) -> None:
        """A count is true, or a warning reports that row security may hide rows."""
        partial = any(warning["code"] == "row_security" for warning in done.json().get("warnings", []))
        told = reported == actual or (partial and self.may("read", "row_security"))
        self.hold(told, f"{reported} reported, {actual} there", done)

    # --- the commands -------------------------------------------------------------------------------------------------

    def everything(self, *, backups: bool = True) -> None:
        """Every command, those that only read first, erasing last. Raises Fault with all that does not hold."""
        self.reads()
        self.export_and_import()
        self.add_edit_delete()
        self.clear()
        if backups:
            self.backup()
        self.sessions()
        self.erase()
        if self.faults:
            raise Fault("\n\n".join([*self.faults, f"on {self.found}"]))

    def reads(self) -> None:
        """Lists and counts are those of a superuser, and reading changes nothing."""
        before = self.found.snapshot()
        checks: dict[str, Callable[[Result], None]] = {
            "memories list": lambda done: self.counted(len(done.json()["memories"]), self.found.count(), done),
            "users list": lambda done: self.counted(
                {user["user_id"]: user["memories"] for user in done.json()["users"] if user["memories"]},
                self.found.by_owner(),
                done,
            ),
            "sessions list": lambda done: self.counted(len(done.json()["sessions"]), self.found.count("s"), done),
            "stats": self._check_stats,
            "doctor --timeout 300": self._check_doctor,
        }
        for command in READS:
            done = self.run(command)
            if "error" not in done.json() and command in checks:
                checks[command](done)
        self.unchanged(before, done)

    def _check_stats(self, done: Result) -> None:
        self.counted(done.json()["memories"], self.found.count(), done)
        self.counted(done.json()["sessions"], self.found.count("s"), done)
        top = {user["user_id"]: user["memories"] for user in done.json()["top_users"]}
        self.counted(top, self.found.by_owner(), done)

    def _check_doctor(self, done: Result) -> None:
        checks = done.json()["checks"]
        failed = {check["id"]: check["detail"] for check in checks if check["status"] in {"failed", "unknown"}}
        self.hold(bool(done.exit_code) == any(c["status"] == "failed" for c in checks), "a wrong exit code", done)
        known = WITHOUT_PROVIDER | ({"schema.version"} if self.found.generation == "2.2" else set())
        for check in set(failed) - known:
            self.hold(self.may("doctor", check), f"{check} without a reason: {failed[check]}")

    def export_and_import(self) -> None:
        """An export is complete, and an import of it changes nothing."""
        exported, done, *_ = self.change("memories export -o all.jsonl")
        if exported is not None:
            lines = (self.junkie.cwd / "all.jsonl").read_text().splitlines()
            self.hold(len(lines) == self.found.count() == exported["memories"], f"{len(lines)} lines", done)
            imported, done, before, _ = self.change("memories import all.jsonl")
            if imported is not None:
                self.hold(imported["unchanged"] == len(lines), "an import of an export would change it", done)
                self.unchanged(before, done)
        exported, done, *_ = self.change(f"users export {OTHER} -o bob.jsonl")
        if exported is not None:
            rows = [json.loads(line)["row"] for line in (self.junkie.cwd / "bob.jsonl").read_text().splitlines()]
            self.hold(len(rows) == exported["lines"], f"{len(rows)} lines", done)
            for table, key in (("m", "memory_id"), ("s", "session_id")):
                left = self.found.keys(table, key, OTHER) - Counter(str(row.get(key)) for row in rows)
                self.hold(not left, f"not exported: {left}", done)

    def add_edit_delete(self) -> None:
        """One memory is added, edited and deleted; the last two are undone."""
        added, done, before, after = self.change("memories add Likes-chess -u ada")
        if added is None:
            memory = next(iter(self.found.keys("m", "memory_id", PERSON)), "")
        else:
            memory = added["memory"]["memory_id"]
            self.hold(len(after.news(before)) == 1, f"{len(after.news(before))} rows were added", done)
        for command in (f"memories edit {memory} Plays-chess", f"memories delete {memory} --yes"):
            changed, done, before, after = self.change(command)
            if changed is not None:
                self.hold(len(before.news(after)) >= 1, "nothing changed", done)
                self.undone(changed, done, before, after)

    def clear(self) -> None:
        """All memories of a person are deleted, as many as the dry run counted, and put back."""
        before = self.found.snapshot()
        planned = self.run("memories clear -u ada --dry-run")
        self.unchanged(before, planned)
        count = self.found.count("m", PERSON)
        if not planned.exit_code:
            self.counted(planned.json()["would_delete"], count, planned)
        cleared, done, before, after = self.change("memories clear -u ada --yes")
        if cleared is None:
            return
        left = self.found.count("m", PERSON)
        self.hold(left == cleared["remaining"] == 0, f"{left} memories are left", done)
        self.hold(cleared["deleted"] == planned.json().get("would_delete") == count, "a wrong count", done)
        self.hold(planned.json().get("cascaded") == cleared.get("cascaded"), "the dry run differs", done)
        self.undone(cleared, done, before, after)

    def undone(self, changed: Mapping[str, Any], done: Result, before: Snapshot, after: Snapshot) -> None:
        """What a change deleted by cascade was reported; the change can be undone, and then all else is as before."""
        cascaded = changed.get("cascaded", {})
        for table, count in cascaded.items():
            gone = sum(row.table in (table, f"ai.{table}") for row in before.news(after).elements())
            self.hold(gone == count, f"{count} rows of {table} reported, {gone} gone", done)
        if changed["undo"] is None:
            self.hold(self.may("undo", "unpromised"), "no undo is promised", done)
            return
        put_back, done, _, restored = self.change(f"memories undo {changed['undo']}")
        if put_back is None:
            return
        lost = {f"ai.{table}" for table in cascaded} | set(cascaded)
        different = before.without(lost).difference(restored.without(lost))
        self.hold(not different, f"not the same after undo: {different[:5]}", done)

    def backup(self) -> None:
        """A backup is verified, or a property of the database prevents it; counted is what is there."""
        made, done, before, _ = self.change("backup")
        self.unchanged(before, done)
        if made is None:
            return
        reason = made.get("unverified_because")
        self.hold(
            made["verified"] or (bool(reason) and self.may("backup", "unverified")), f"unverified: {reason}", done
        )
        rows = {table["name"].removeprefix("ai."): table["rows"] for table in made["tables"]}
        for table in ("m", "s"):
            counted = sum(rows.get(name, 0) for name in self.found.family(table))
            self.hold(counted == self.found.count(table), f"{self.found.count(table)} are there in {table}", done)
        verified = self.run("backup verify latest")
        if not verified.exit_code:
            self.hold((verified.json()["status"] == "verified") == made["verified"], "verified otherwise", verified)
        self.backed_up = self.found.keys("m", "memory_id", PERSON)
        done = self.run("restore latest --user bob --dry-run")
        self.unchanged(before, done)

    def sessions(self) -> None:
        """A session goes with everybody's rows in it: those affected are named before, and no others change."""
        before = self.found.snapshot()
        done = self.run("sessions delete c1 --yes")
        if done.exit_code:
            return self.unchanged(before, done)
        different = before.apart_from("c1").difference(self.found.snapshot().apart_from("c1"))
        self.hold(not different, f"changed: {different[:5]}", done)
        return None

    def erase(self) -> None:
        """A person is erased, as many rows as the dry run counted; a backup brings the memories back when asked to."""
        before = self.found.snapshot()
        planned = self.run("users erase ada --dry-run")
        self.unchanged(before, planned)
        erased, done, before, after = self.change("users erase ada --yes")
        if erased is None:
            return
        left = [row.table for row in after.rows if row.owner == PERSON and row.table.startswith("ai.")]
        self.hold(not left, f"rows are left in {left}", done)
        self.hold(planned.json().get("erased") == erased["erased"], "the dry run counted otherwise", done)
        self.hold(self._gone(before, after, erased["erased"]), "a wrong count", done)
        if self.backed_up:
            self.restore()

    def _gone(self, before: Snapshot, after: Snapshot, erased: Mapping[str, int]) -> bool:
        """Whether memories went as reported."""
        gone = sum(row.table == f"ai.{self.found.real['m']}" for row in before.news(after).elements())
        return gone == sum(erased.get(name, 0) for name in self.found.names_of_memories)

    def restore(self) -> None:
        """An erased person comes back only when that is asked for."""
        before = self.found.snapshot()
        done = self.junkie.run("restore", "latest", "--user", PERSON, "--yes", "--json", env=self.env)
        self.hold(done.exit_code != 0, "an erased person came back", done)
        self.unchanged(before, done)
        planned = self.run("restore latest --user ada --even-erased --dry-run")
        self.unchanged(before, planned)
        restored, done, *_ = self.change("restore latest --user ada --even-erased --yes")
        if restored is None:
            return
        self.hold(planned.json().get("tables") == restored["tables"], "the dry run counted otherwise", done)
        missing = self.backed_up - self.found.keys("m", "memory_id", PERSON)
        self.hold(not missing or self.may("restore", "left_behind"), f"not restored: {missing}", done)
