"""What a URL says, and that no form of it says anything else (the integration tests connect with all forms)."""

import os
import pickle
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from junkie_cli.core import database_url as module
from junkie_cli.core.database_url import DatabaseUrl, Host
from tests.support.texts import ALPHABET, texts

pytestmark = pytest.mark.usefixtures("plain_environment")

AWFUL = "p@ss/w%rd:#"


# --- properties -------------------------------------------------------------------------------------------------------

text = texts(ALPHABET.replace("\0", ""), min_size=1, max_size=20)
ENDS = texts("az09m", min_size=1, max_size=1)
WITHIN = "abmz059.-"
names = st.builds("{}{}{}".format, ENDS, texts(WITHIN, max_size=20), ENDS) | ENDS
addresses = st.ip_addresses(v=6).map(str)
folders = text.map(lambda t: "/" + t.replace(",", "")[:15])
hosts = st.builds(Host, st.one_of(names, addresses, folders), st.integers(1, 65535))
values = {
    **dict.fromkeys(
        ("sslrootcert", "sslcert", "sslkey", "application_name", "options", "passfile", "keepalives"), text
    ),
    "sslmode": st.sampled_from(("require", "verify-ca", "verify-full")),
    "target_session_attrs": st.sampled_from(module.SESSION_ATTRS),
    "connect_timeout": st.integers(-1, 1000).map(str),
    "channel_binding": st.sampled_from(("disable", "prefer")),
}
queries = st.fixed_dictionaries({}, optional=values).filter(lambda q: q.get("sslrootcert") != "system")


@st.composite
def urls(draw) -> DatabaseUrl:
    query = draw(queries)
    order = [*module.CARRIED, *module.LIBPQ_ONLY]
    return DatabaseUrl(
        hosts=tuple(draw(st.lists(hosts, min_size=1, max_size=3))),
        user=draw(st.none() | text),
        password=draw(st.none() | text),
        database=draw(st.none() | text),
        parameters=tuple((key, query[key]) for key in order if key in query),
    )


@given(urls())
def test_plain_form_means_the_same_when_read_again(url):
    assert DatabaseUrl.parse(url.libpq()) == url


@given(urls())
def test_masked_form_differs_in_the_password_alone(url):
    shown = DatabaseUrl.parse(url.masked())
    assert shown.password == (module.MASK if url.password else None)
    assert shown.with_database("x").hosts == url.hosts
    assert (shown.user, shown.database, shown.parameters) == (url.user, url.database, url.parameters)


@given(st.text("🔑密é@/%:#?&=+ '\"", min_size=6), urls())
def test_password_is_in_nothing_that_people_see(noise, url):
    password = f"hunter2{noise}"
    url = DatabaseUrl(url.hosts, "u", password, "d", url.parameters)
    for shown in (repr(url), str(url), url.masked(), " ".join(url.notes)):
        assert password not in shown
        assert quote(password, safe="") not in shown


@settings(max_examples=50)
@given(urls())
def test_all_lanes_are_reported_the_same(url):
    asyncpg, libpq, alchemy = url.asyncpg_arguments(), url.libpq_environment(), make_url(url.sqlalchemy())
    assert asyncpg["host"] == libpq["PGHOST"].split(",") == [host.name for host in url.hosts]
    assert [str(port) for port in asyncpg["port"]] == libpq["PGPORT"].split(",")
    assert asyncpg["user"] == libpq["PGUSER"] == alchemy.username
    assert asyncpg["password"] == libpq.get("PGPASSWORD", "") == (alchemy.password or "")
    assert asyncpg["database"] == libpq["PGDATABASE"] == alchemy.query["database"]
    assert asyncpg["target_session_attrs"] == libpq.get("PGTARGETSESSIONATTRS", "any")
    for key, variable in {**module.CARRIED, **module.LIBPQ_ONLY}.items():
        if variable and key in url.query:
            assert libpq[variable] == url.query[key]
    for key in ("application_name", "options"):
        assert asyncpg.get("server_settings", {}).get(key) == url.query.get(key)


@given(urls())
def test_sqlalchemy_hands_asyncpg_what_we_would(url):
    from asyncpg.connect_utils import _parse_connect_dsn_and_args as understood
    from sqlalchemy.dialects.postgresql.asyncpg import dialect

    # asyncpg opens TLS files at once: that they arrive is shown where they exist, in the integration tests.
    plain = [(key, value) for key, value in url.parameters if key not in {"sslrootcert", "sslcert", "sslkey"}]
    url = replace(url, parameters=tuple((k, v) for k, v in plain if not v.startswith("verify")))
    rest = {"passfile": None, "service": None, "servicefile": None, "krbsrvname": None, "gsslib": None}
    empty = {"dsn": None, "ssl": None, "direct_tls": None, "server_settings": None, **rest}
    _, theirs = dialect().create_connect_args(make_url(url.sqlalchemy()))
    theirs_addresses, theirs = understood(**{**empty, "password": "", **theirs})
    ours_addresses, ours = understood(**{**empty, **url.asyncpg_arguments()})
    assert theirs_addresses == ours_addresses
    ignore = {"ssl"}  # a context, equal to nothing but itself
    assert {k: v for k, v in theirs._asdict().items() if k not in ignore and v} == {
        k: v for k, v in ours._asdict().items() if k not in ignore and v
    }


@given(texts(max_size=60))
def test_any_text_is_read_or_refused_in_words(tail):
    secret = "hunter2hunter2"
    for text in (
        tail,
        f"postgresql://{tail}",
        f"postgresql://u:{secret}{tail}@h/d",
        f"postgres://u:{secret}@h/d?{tail}",
    ):
        try:
            url = DatabaseUrl.parse(text)
        except ValueError as error:
            assert str(error).startswith(("has ", "must "))
            assert secret not in str(error)
        else:
            assert DatabaseUrl.parse(url.libpq()) == url


@settings(max_examples=50)
@given(text, text)
def test_awkward_characters_survive_every_spelling_of_the_scheme(user, password):
    for scheme in ("postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg", "postgresql+psycopg_async"):
        url = DatabaseUrl.parse(f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@db.example:6543/junkie")
        assert (url.user, url.password) == (user, password)
        assert url.hosts == (Host("db.example", 6543),)
        assert url.database == "junkie"


# --- what is understood -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_url", "plain"),
    [
        ("postgresql://u:p%40ss%2Fw%25rd%3A%23@h/d", "postgresql://u:p%40ss%2Fw%25rd%3A%23@h:5432/d"),
        ("postgres://u@h/d", "postgresql://u@h:5432/d"),
        ("POSTGRES://u@h/d", "postgresql://u@h:5432/d"),
        ("postgresql+psycopg2://u@h/d", "postgresql://u@h:5432/d"),
        ("postgresql://u:@h/d", "postgresql://u@h:5432/d"),
        ("postgresql://h", "postgresql://h:5432/"),
        ("postgresql://u:a?b#c@h/d", "postgresql://u:a%3Fb%23c@h:5432/d"),
        ("postgresql://u@[2001:db8::1]:6432/d", "postgresql://u@[2001:db8::1]:6432/d"),
        ("postgresql://u@[fe80::1%25eth0]/d", "postgresql://u@[fe80::1%25eth0]:5432/d"),
        ("postgresql://u@/d?host=::1", "postgresql://u@[::1]:5432/d"),
        ("postgresql://u@/d?host=/run/pg", "postgresql://u@/d?host=/run/pg&port=5432"),
        ("postgresql://u@%2Frun%2Fpg:5433/d", "postgresql://u@/d?host=/run/pg&port=5433"),
        ("postgresql://u@localhost:5433/d?host=/run/pg", "postgresql://u@/d?host=/run/pg&port=5433"),
        ("postgresql://u@a:1,b,[::1]:3/d", "postgresql://u@a:1,b:5432,[::1]:3/d"),
        ("postgresql://u@/d?host=a,b&port=1,2", "postgresql://u@a:1,b:2/d"),
        ("postgresql://u@/d?host=a,b&port=7", "postgresql://u@a:7,b:7/d"),
        ("postgresql+asyncpg://u@/d?host=a:1&host=b:2", "postgresql://u@a:1,b:2/d"),
        ("postgresql://h/d?user=me&password=s%26p", "postgresql://me:s%26p@h:5432/d"),
        ("postgresql://u@h/x?dbname=d", "postgresql://u@h:5432/d"),
        ("postgresql+asyncpg://u@h/d?ssl=require", "postgresql://u@h:5432/d?sslmode=require"),
        ("postgresql://u@h/d?ssl=true", "postgresql://u@h:5432/d?sslmode=require"),
        ("postgresql://u@h/d?sslmode=&application_name=", "postgresql://u@h:5432/d"),
        ("postgresql://u@h/d?sslrootcert=system", "postgresql://u@h:5432/d?sslmode=verify-full&sslrootcert=system"),
        ("postgresql://u@h/d?options=-c%20search_path%3Dx", "postgresql://u@h:5432/d?options=-c%20search_path%3Dx"),
        ("postgresql://u@h/d?options=endpoint=a+b", "postgresql://u@h:5432/d?options=endpoint%3Da%2Bb"),
        ("postgresql://u@h/a%2Fb%20c", "postgresql://u@h:5432/a%2Fb%20c"),
    ],
)
def test_read_as_libpq_reads_it(given_url, plain):
    assert DatabaseUrl.parse(given_url).libpq() == plain


def test_a_missing_password_stays_missing():
    url = DatabaseUrl.parse("postgresql://u@h/d")
    assert url.password is None
    assert "None" not in url.libpq() + url.masked() + url.sqlalchemy() + str(url.libpq_environment())
    assert "PGPASSWORD" not in url.libpq_environment()


def test_no_host_is_the_server_of_this_machine_for_every_lane():
    url = DatabaseUrl.parse("postgresql:///junkie")
    assert [host.name for host in url.hosts] == list(module.LOCAL_SERVER)
    assert url.libpq_environment()["PGHOST"] == ",".join(module.LOCAL_SERVER)


def test_what_postgresql_does_not_know_is_dropped_and_named():
    url = DatabaseUrl.parse(
        "postgresql://u@h/d?pgbouncer=true&sslmode=require&prepared_statement_cache_size=0&pgbouncer=1"
    )
    assert url.ignored == ("pgbouncer", "prepared_statement_cache_size")
    assert url.libpq() == "postgresql://u@h:5432/d?sslmode=require"
    assert url.notes == (
        "ignored, because it is not a parameter of PostgreSQL: pgbouncer, prepared_statement_cache_size",
    )
    assert url == DatabaseUrl.parse("postgresql://u@h/d?sslmode=require")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("mysql://u@h/d", "has to begin with postgresql://"),
        ("h/d", "has to begin with postgresql://"),
        ("postgresql+mariadb://u@h/d", "has an unknown driver"),
        ("postgresql://u:p@/d", "has no host name after the @"),
        ("postgresql://u:p@ss@h/d", "has more than one @"),
        ("postgresql://u:p/ss@h/d", "%2F"),
        ("postgresql://u:12/34@h/d", "%2F"),
        ("postgresql://u:p%ss@h/d", "a % is written %25"),
        ("postgresql://u:%ff@h/d", "not UTF-8"),
        ("postgresql://u:%00@h/d", "zero byte"),
        ("postgresql://::1/d", "brackets"),
        ("postgresql://u@[]/d", "empty address"),
        ("postgresql://u@h:port/d", "has a port"),
        ("postgresql://u@h:0/d", "has a port"),
        ("postgresql://u@h:65536/d", "has a port"),
        ("postgresql://u@h:٣/d", "has a port"),
        ("postgresql://u@a,,b/d", "empty host name"),
        ("postgresql://u@/d?host=a,b&port=1,2,3", "has 2 hosts but 3 ports"),
        ("postgresql://u@%40abstract/d", "abstract socket"),
        ("postgresql://u@a%2Cb/d", "comma"),
        ("postgresql://u@/d?host=/" + "x" * 100, "too long"),
        ("postgresql://u@h/d?nonsense", "not name=value"),
        ("'postgresql://u@h/d'", "quotes around it"),
        (" postgresql://u@h/d", "spaces"),
        ("postgresql://u:a b@h/d", "a space"),
        ("postgresql://u@h/d\x1b[2J", "control character"),
        ("postgresql://u@h/d?sslmode=on", "disable, allow, prefer, require, verify-ca, verify-full"),
        ("postgresql://u@h/d?sslmode=disable&ssl=require", "they differ"),
        ("postgresql://u@h/d?sslmode=require&sslrootcert=system", "verify-full"),
        ("postgresql://u@h/d?sslnegotiation=direct", "sslmode=require or stronger"),
        ("postgresql://u@h/d?target_session_attrs=master", "read-write"),
        ("postgresql://u@h/d?connect_timeout=5s", "whole number of seconds"),
        ("postgresql://u@h/d?gssencmode=require", "disable, prefer"),
        ("postgresql://u@h/d?channel_binding=require&sslmode=disable", "without TLS"),
        ("postgresql://u@/d?host=/tmp&channel_binding=require", "Unix socket"),
        *((f"postgresql://u@h/d?{key}=x", f"has {key}, which") for key in module.REFUSED),
    ],
)
def test_refused_with_a_reason_that_reads_after_the_name_and_quotes_nothing(bad, reason):
    with pytest.raises(ValueError, match=r"^has ") as caught:
        DatabaseUrl.parse(bad)
    assert reason in str(caught.value)
    assert "ss@" not in str(caught.value)
    assert "34" not in str(caught.value).replace("65535", "")


def test_a_value_without_secrets():
    url = DatabaseUrl.parse(f"postgresql://u:{quote(AWFUL, safe='')}@h/d")
    assert AWFUL not in repr(url)
    assert url.masked() == "postgresql://u:********@h:5432/d"
    assert pickle.loads(pickle.dumps(url)) == url
    assert len({url, DatabaseUrl.parse(url.libpq())}) == 1
    with pytest.raises(AttributeError):
        url.user = "other"  # type: ignore[misc]


def test_socket_and_with_database():
    url = DatabaseUrl.socket("/run/x", user="junkie", database="junkie")
    assert url.libpq() == "postgresql://junkie@/junkie?host=/run/x&port=5432"
    assert str(url.hosts[0]) == "/run/x/.s.PGSQL.5432"
    other = url.with_database("a/b")
    assert (other.database, other.hosts, other.user) == ("a/b", url.hosts, "junkie")


# --- what the environment adds ----------------------------------------------------------------------------------------


def test_role_and_database_as_libpq_chooses_them(monkeypatch):
    import getpass
    import pwd

    login = pwd.getpwuid(os.geteuid()).pw_name
    bare = DatabaseUrl.parse("postgresql://h")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert getpass.getuser() == "somebody-else"
    assert (bare.role, bare.database_name) == (login, login)
    monkeypatch.setenv("PGUSER", "pguser")
    assert (bare.role, bare.database_name) == ("pguser", "pguser")
    monkeypatch.setenv("PGDATABASE", "pgdatabase")
    assert bare.database_name == "pgdatabase"
    assert bare.asyncpg_arguments()["database"] == bare.libpq_environment()["PGDATABASE"] == "pgdatabase"
    named = DatabaseUrl.parse("postgresql://u@h/d")
    assert (named.role, named.database_name) == ("u", "d")


def test_connect_timeout(monkeypatch):
    seconds = lambda query: DatabaseUrl.parse(f"postgresql://h/d{query}").connect_timeout  # noqa: E731
    assert [seconds(q) for q in ("", "?connect_timeout=7", "?connect_timeout=0", "?connect_timeout=-1")] == [
        None,
        7.0,
        None,
        None,
    ]
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "3")
    assert seconds("") == 3.0
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "soon")
    assert seconds("") is None


def test_tools_environment_leads_nowhere_else():
    url = DatabaseUrl.parse(f"postgresql://u:{quote(AWFUL, safe='')}@h:6543/d?sslmode=require&keepalives_idle=5")
    stray = {"PGSERVICE": "x", "PGHOSTADDR": "10.0.0.1", "PGHOST": "other", "PGOPTIONS": "-c x=y", "PATH": "/bin"}
    assert url.tool_environment(stray) == {
        "PATH": "/bin",
        "PGHOST": "h",
        "PGPORT": "6543",
        "PGUSER": "u",
        "PGDATABASE": "d",
        "PGPASSWORD": AWFUL,
        "PGSSLMODE": "require",
    }


def test_over_a_socket_nothing_insists_on_encryption():
    url = DatabaseUrl.socket("/run/x", user="u", database="d")
    stray = {"PGSSLMODE": "verify-full", "PGCHANNELBINDING": "require", "PGGSSENCMODE": "require", "PGAPPNAME": "x"}
    assert url.tool_environment(stray) == {
        "PGHOST": "/run/x",
        "PGPORT": "5432",
        "PGUSER": "u",
        "PGDATABASE": "d",
        "PGAPPNAME": "x",
    }


def test_channel_binding_is_replaced_by_a_verified_certificate(tmp_path, monkeypatch):
    certificates = tmp_path / "ca.crt"
    certificates.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    neon = DatabaseUrl.parse("postgresql://u:p@ep-x.neon.tech/d?sslmode=require&channel_binding=require")
    assert neon.asyncpg_arguments()["ssl"] == "verify-full"
    assert str(certificates) in neon.asyncpg_arguments()["dsn"]
    assert make_url(neon.sqlalchemy()).query["ssl"] == "verify-full"
    assert neon.libpq_environment()["PGSSLMODE"] == "require"
    assert neon.libpq_environment()["PGCHANNELBINDING"] == "require"
    assert "sslmode=verify-full" in neon.notes[0]
    own = DatabaseUrl.parse(f"postgresql://u@h/d?channel_binding=require&sslrootcert={certificates}")
    assert own.asyncpg_arguments()["ssl"] == "verify-ca"
    monkeypatch.setenv("PGCHANNELBINDING", "require")
    assert DatabaseUrl.parse("postgresql://u@h/d").asyncpg_arguments()["ssl"] == "verify-full"


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("h:5432:d:u:secret", "secret"),
        ("*:*:*:*:secret", "secret"),
        (r"h:5432:d:u:a\:b\\c", r"a:b\c"),
        (r"h:5432:d:u:a:b", "a"),
        ("#h:5432:d:u:secret\n\nother:*:*:*:no\nh:*:*:u:  spaced ", "  spaced "),
        ("h:5433:d:u:no", ""),
        ("h:5432:d:v:no", ""),
        ("h:5432", ""),
        ("", ""),
        ("h:*:d:u:trailing\\", "trailing\\"),
    ],
)
def test_password_file_is_read_as_libpq_reads_it(tmp_path, monkeypatch, line, password):
    file = tmp_path / ".pgpass"
    file.write_text(line + "\n")
    file.chmod(0o600)
    url = DatabaseUrl.parse("postgresql://u@h/d")
    assert url.asyncpg_arguments()["password"] == password
    assert DatabaseUrl.parse("postgresql://u:given@h/d").asyncpg_arguments()["password"] == "given"
    moved = file.rename(tmp_path / "elsewhere")
    assert url.asyncpg_arguments()["password"] == ""
    monkeypatch.setenv("PGPASSFILE", str(moved))
    assert url.asyncpg_arguments()["password"] == password
    monkeypatch.delenv("PGPASSFILE")
    named = DatabaseUrl.parse(f"postgresql://u@h/d?passfile={quote(str(moved))}")
    assert named.asyncpg_arguments()["password"] == password
    moved.chmod(0o640)
    assert named.asyncpg_arguments()["password"] == ""


def test_each_host_has_its_own_entry_in_the_password_file(tmp_path):
    file = tmp_path / ".pgpass"
    file.write_text("a:1:*:*:for a\nb:2:*:*:for b\nlocalhost:3:*:*:for sockets\n")
    file.chmod(0o600)
    url = DatabaseUrl.parse("postgresql://u@/d?host=a,b,/run/x&port=1,2,3")
    assert [url.asyncpg_arguments(host)["password"] for host in url.hosts] == ["for a", "for b", "for sockets"]


def test_it_imports_only_the_standard_library_and_leaves():
    source = Path(module.__file__).read_text()
    imported = {line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))}
    ours = {name for name in imported if name.startswith("junkie_cli")}
    assert ours == {f"junkie_cli.core.{name}" for name in ("os_account", "password_file", "value_class")}
    standard = {name.split(".")[0] for name in imported - ours}
    assert standard <= {"os", "re", "sys", "collections", "dataclasses", "pathlib", "typing", "urllib"}
