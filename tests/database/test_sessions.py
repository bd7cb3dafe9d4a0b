"""restore.sh with RESTORE_CLEAR_SESSIONS: it reports sessions as cleared only if they are."""

from __future__ import annotations

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import content, fill
from tests.database.pod import Pod

BETTER_AUTH = '(id text, "userId" text, token text, "expiresAt" timestamptz)'


def restored(pod: Pod, *named: str) -> tuple[int, str]:
    """Takes a backup and restores it without sessions; returns the restore's status and log."""
    assert pod.run("backup.sh").returncode == 0
    tables = f"[{', '.join(named)}]"
    more = {"RESTORE_SESSION_TABLES": tables} if named else {}
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[-1], RESTORE_CLEAR_SESSIONS="true", **more)
    return done.returncode, done.stdout


def test_what_is_cleared_is_named(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql("CREATE SCHEMA auth; CREATE TABLE auth.session (id text); INSERT INTO auth.session VALUES ('s1')")
    status, log = restored(pod)
    assert status == 0, log
    assert "sessions cleared: auth.session (1 rows), rateLimit (1 rows), session (2 rows)" in log
    assert server.sql("SELECT count(*) FROM auth.session") == "0"
    assert server.sql('SELECT count(*) FROM "user"') == "1"


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ("user_sessions (id text)", "user_sessions"),
        ('"AuthSession" (id text)', "AuthSession"),
        ("auth.device_sessions (id text)", "auth.device_sessions"),
        (f"visits {BETTER_AUTH}", "visits"),
        ("remember_tokens (selector text, validator text, user_id int)", "remember_tokens"),
        ('"RefreshToken" (id text, "userId" text, hash text, "validUntil" timestamptz)', "RefreshToken"),
        ("auth.authtoken_token (key text, user_id int)", "auth.authtoken_token"),
        ("personal_access_tokens (tokenable_id int, token text, expires_at timestamptz)", "personal_access_tokens"),
        ("logins (id int, account_id int, at timestamptz)", "logins"),
        ("tickets (jti uuid, uid int, exp bigint)", "tickets"),
        ("devices (token_digest bytea, member_id int, valid_until date)", "devices"),
        ('"sessionLog" (id text) PARTITION BY LIST (id)', "sessionLog"),
    ],
)
def test_a_table_that_may_hold_sessions_stops_the_restore_until_somebody_says_what_it_holds(
    pod: Pod, server: PostgresServer, table: str, shown: str
) -> None:
    fill(server)
    server.sql("CREATE SCHEMA auth")
    server.sql(f"CREATE TABLE {table}")
    before = content(server)
    status, log = restored(pod)
    assert status != 0
    assert f"these tables may hold sessions: {shown};" in log
    assert "backup.sessionTables" in log
    assert log.splitlines()[-1].endswith("FAILED: the sessions could not be cleared; the old data is untouched")
    assert "sessions cleared" not in log
    assert content(server) == before
    status, log = restored(pod, f'"{shown}"')
    assert status == 0, log
    assert server.sql("SELECT count(*) FROM session") == "2", "which nobody has named"
    status, log = restored(pod, '"session"')
    assert status == 0, log
    assert server.sql("SELECT count(*) FROM session") == "0"


def test_tables_that_log_nobody_in_stop_no_restore(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql("""
        CREATE TABLE account ("userId" text, "refreshToken" text, "accessTokenExpiresAt" timestamptz);
        CREATE TABLE "Account" ("userId" text, refresh_token text, access_token text, expires_at int);
        CREATE TABLE verification (identifier text, value text, "expiresAt" timestamptz);
        CREATE TABLE "VerificationToken" (identifier text, token text, expires timestamptz);
        CREATE TABLE invoice_links (token text, invoice_id int, expires_at timestamptz);
        CREATE TABLE subscriptions (user_id int, expires_at timestamptz, plan text)
    """)
    status, log = restored(pod)
    assert status == 0, log
    assert "sessions cleared: rateLimit (1 rows), session (2 rows)" in log


def test_a_renamed_session_table_is_cleared_once_it_is_named(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql("ALTER TABLE session RENAME TO user_sessions")
    assert restored(pod)[0] != 0
    status, log = restored(pod, '"user_sessions"')
    assert status == 0, log
    assert "sessions cleared: rateLimit (1 rows), user_sessions (2 rows)" in log
    assert server.sql("SELECT count(*) FROM user_sessions") == "0"


def test_a_named_table_that_is_not_there_stops_the_restore(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    before = content(server)
    status, log = restored(pod, '"session"', '"user_sessions"')
    assert status != 0
    assert "there is no table user_sessions" in log
    assert content(server) == before


@pytest.mark.parametrize(
    "keep",
    [
        "CREATE RULE keep AS ON DELETE TO session DO INSTEAD NOTHING",
        """
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER keep BEFORE DELETE ON session FOR EACH ROW EXECUTE FUNCTION keep();
        """,
    ],
)
def test_sessions_that_survive_their_deletion_stop_the_restore(pod: Pod, server: PostgresServer, keep: str) -> None:
    fill(server)
    server.sql(keep)
    status, log = restored(pod)
    assert status != 0
    assert "rows are left in session: a trigger or a rule keeps them" in log
