"""Checking keys and writing the `.env`, which the bot shares: not one of its bytes may change."""

import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.errors import ProviderError, SettingsError
from junkie_cli.core.settings import load_settings, read_env_file
from junkie_cli.core.setup import check_key, checked_value, env_file_to_keep, env_file_to_write, write_env_values
from tests.support.texts import PRINTABLE, texts

BOT = (
    "# the bot\n\nDISCORD_TOKEN=abc.def\n  export GROQ_API_KEY = old # my key\n\n"
    "PHOENIX_CLIENT_HEADERS='a=b\nc=d'\nbroken line here\nMAX_AGENTS=3\nMAX_AGENTS=4"
)


class Models(BaseHTTPRequestHandler):
    """Answers `/STATUS/models`, and `/json/models` with what the test put there; keeps the keys that it got."""

    body = b""
    keys: list[str | None]

    def do_GET(self) -> None:
        type(self).keys.append(self.headers.get("Authorization"))
        word = self.path.split("/")[1]
        self.send_response(int(word) if word.isdigit() else 200)
        if word == "302":
            self.send_header("Location", "/json/models")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def models() -> Iterator[str]:
    Models.keys = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_good_key_opens_the_list_of_models(models: str) -> None:
    Models.body = b'{"object": "list", "data": [{"id": "b"}, {"id": "a"}, 7]}'
    assert check_key(f"{models}/json/", "gsk_x") == ("a", "b")
    assert check_key(f"{models}/json", "") == ("a", "b")
    assert Models.keys == ["Bearer gsk_x", None]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "provider_key"),
        (403, "provider_key"),
        (429, "provider_unavailable"),
        (503, "provider_unavailable"),
        (400, "provider_address"),
    ],
)
def test_a_refusal_is_reported(models: str, status: int, code: str) -> None:
    with pytest.raises(ProviderError) as caught:
        check_key(f"{models}/{status}", "gsk_secret")
    assert caught.value.code == code
    assert str(status) in caught.value.message
    assert "gsk_secret" not in caught.value.message + caught.value.hint


def test_servers_without_a_list_are_fine(models: str) -> None:
    assert check_key(f"{models}/404", "") == ()


def test_a_redirect_does_not_carry_the_key_away(models: str) -> None:
    with pytest.raises(ProviderError):
        check_key(f"{models}/302", "gsk_x")
    assert len(Models.keys) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 3}', b"\xff"])
def test_something_else_that_answers_is_no_provider(models: str, body: bytes) -> None:
    Models.body = body
    with pytest.raises(ProviderError) as caught:
        check_key(f"{models}/json", "k")
    assert caught.value.code == "provider_address"


def test_nobody_there(models: str) -> None:
    with pytest.raises(ProviderError) as caught:
        check_key("http://127.0.0.1:1/v1", "gsk_x")
    assert caught.value.code == "provider_unreachable"
    assert "127.0.0.1:1" in caught.value.message


# --- the .env ---------------------------------------------------------------------------------------------------------


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    written = write_env_values(tmp_path / "new" / ".env", {"GROQ_API_KEY": "gsk_1", "POSTGRES_URL": ""})
    assert (written.created, written.mode) == (True, 0o600)
    assert written.path.read_text() == "GROQ_API_KEY=gsk_1\n"
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.path.parent.stat().st_mode) == 0o700


def test_the_bots_lines_stay_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(BOT)
    path.chmod(0o644)
    written = write_env_values(path, {"GROQ_API_KEY": "new", "MAX_AGENTS": "5", "JUNKIE_USER": "Zoë 42"})
    assert path.read_text() == (
        BOT.replace("GROQ_API_KEY = old # my key", "GROQ_API_KEY=new # my key").replace("MAX_AGENTS=4", "MAX_AGENTS=5")
        + "\nJUNKIE_USER='Zoë 42'\n"
    )
    assert (written.created, written.mode) == (False, 0o644)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert write_env_values(path, {"MAX_AGENTS": "6"}, tighten=True).mode == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]


def test_the_line_endings_and_the_mark_of_other_systems_stay(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfA=1\r\nGROQ_API_KEY=x\r\n")
    write_env_values(path, {"GROQ_API_KEY": "y", "JUNKIE_USER": "me"})
    assert path.read_bytes() == b"\xef\xbb\xbfA=1\r\nGROQ_API_KEY=y\r\nJUNKIE_USER=me\r\n"


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("A=1\n")
    (tmp_path / ".env").symlink_to("real")
    write_env_values(tmp_path / ".env", {"JUNKIE_USER": "me"})
    assert (tmp_path / ".env").is_symlink()
    assert (tmp_path / "real").read_text() == "A=1\nJUNKIE_USER=me\n"


def test_the_owner_stays_the_owner(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    root = os.geteuid() == 0  # who alone can give files away
    owner = (12345, 12346) if root else (os.geteuid(), os.getgroups()[-1] if os.getgroups() else os.getegid())
    os.chown(path, *owner)
    write_env_values(path, {"JUNKIE_USER": "me"})
    assert (path.stat().st_uid, path.stat().st_gid) == owner


def test_what_cannot_be_written_is_reported_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        write_env_values(path, {"A": "1"})
    with pytest.raises(SettingsError, match="cannot be written"):
        write_env_values(Path("/proc/none/.env"), {"A": "1"})
    path.write_text("A=1\n")
    with pytest.raises(SettingsError, match=r"a \.env cannot contain"):
        write_env_values(path, {"A": "${B}"})
    assert path.read_text() == "A=1\n"
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]


values = texts(PRINTABLE, max_size=20).map(str.strip)


@given(values.filter(lambda value: "${" not in value and value.isprintable()), st.sampled_from(["", BOT, "A=1\r\n"]))
def test_what_is_written_is_read_back(value: str, before: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ".env"
        path.write_text(before, newline="")
        write_env_values(path, {"GROQ_API_KEY": value, "CUSTOM_MODEL": value})
        read = read_env_file(path, {}).values
    assert read.get("CUSTOM_MODEL", ("", 0))[0] == value
    assert read.get("GROQ_API_KEY", ("", 0))[0] == value


def test_where_settings_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    assert env_file_to_write(Path("there")) == tmp_path / "there"
    assert env_file_to_write() == tmp_path / ".env"
    (tmp_path / "below").mkdir()
    (tmp_path / ".env").write_text("MAX_AGENTS=1\n")
    monkeypatch.chdir(tmp_path / "below")
    assert env_file_to_write() == tmp_path / ".env"
    assert env_file_to_keep(load_settings(environ={}, cwd=Path.cwd())) == tmp_path / ".env"


@pytest.mark.parametrize("content", ["", "SECRET_KEY=x\nDATABASE_URL=postgresql://h/d\nLOG_LEVEL=info\n"])
def test_another_programs_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(content)
    own = tmp_path / "config" / "junkie" / ".env"
    assert env_file_to_write() == env_file_to_keep(load_settings(cwd=tmp_path)) == own
    write_env_values(own, {"MAX_AGENTS": "7"})
    settings = load_settings(cwd=tmp_path)
    assert (settings.max_agents, settings.env_file) == (7, own)  # what was kept is read
    assert env_file_to_write() == env_file_to_keep(settings) == own
    assert (tmp_path / ".env").read_text() == content


def test_nothing_is_kept_in_what_is_no_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".env"
    os.mkfifo(path)
    with pytest.raises(SettingsError, match="not a regular file"):
        write_env_values(path, {"MAX_AGENTS": "1"})
    writer = threading.Thread(target=lambda: path.write_text("MAX_AGENTS=3\n"))
    writer.start()
    settings = load_settings(cwd=tmp_path)
    writer.join(60)
    assert (settings.max_agents, env_file_to_keep(settings)) == (3, None)
    with pytest.raises(SettingsError, match="not a regular file"):
        env_file_to_write()
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_answers_are_judged_as_settings_are() -> None:
    assert checked_value("GROQ_API_KEY", "") == ""
    assert checked_value("CUSTOM_PROVIDER", "http://h/v1/") == "http://h/v1"
    with pytest.raises(SettingsError, match="GROQ_API_KEY has spaces"):
        checked_value("GROQ_API_KEY", "a b")
