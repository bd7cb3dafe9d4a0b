"""invoicetron's tables as far as a backup can tell, with rows; and what must be equal in a restored copy."""

from __future__ import annotations

import hashlib

from rehearsal.pods.postgres import PostgresServer

# Objects that a dump must restore: a foreign key, a sequence, an index, a table in another schema, awkward names, and
# Prisma's own table.
SCHEMA = """
CREATE TABLE invoices (id serial PRIMARY KEY, number text UNIQUE NOT NULL, note text);
CREATE TABLE invoice_items (id serial PRIMARY KEY, invoice integer REFERENCES invoices, amount numeric NOT NULL);
CREATE INDEX ON invoice_items (invoice);
CREATE TABLE products (id serial PRIMARY KEY, name text);
CREATE TABLE "user" (id text PRIMARY KEY);
CREATE TABLE session (id text PRIMARY KEY, "userId" text REFERENCES "user" ON DELETE CASCADE);
CREATE TABLE "rateLimit" (id text PRIMARY KEY);
CREATE TABLE "it's ""odd"", isn't it" (id integer);
CREATE SCHEMA reports;
CREATE TABLE reports.totals (month date PRIMARY KEY, total numeric);
CREATE TABLE _prisma_migrations (
    id text PRIMARY KEY, migration_name text NOT NULL, finished_at timestamptz, rolled_back_at timestamptz
);
INSERT INTO _prisma_migrations VALUES
    ('1', '20250101000000_init', '2025-01-01', NULL),
    ('2', '20250601000000_items', '2025-06-01', NULL),
    ('3', '20250701000000_undone', '2025-07-01', '2025-07-02'),
    ('4', '20250801000000_running', NULL, NULL);
"""

ROWS = """
INSERT INTO invoices (number, note)
SELECT 'INV-' || n, repeat(md5(n::text), 4) FROM generate_series(1, {count}) AS n;
INSERT INTO invoice_items (invoice, amount) SELECT id, id * 1.5 FROM invoices, generate_series(1, 2);
INSERT INTO products (name) SELECT 'product ' || n FROM generate_series(1, 39) AS n;
INSERT INTO "user" VALUES ('rommel');
INSERT INTO session VALUES ('s1', 'rommel'), ('s2', 'rommel');
INSERT INTO "rateLimit" VALUES ('r1');
INSERT INTO reports.totals VALUES ('2025-01-01', 12.5);
"""


def fill(server: PostgresServer, *, count: int = 500) -> None:
    """Creates the tables, as the app does, and `count` invoices."""
    server.sql(SCHEMA + ROWS.format(count=count), user=server.name)


def content(server: PostgresServer, database: str = "invoicetron") -> str:
    """A digest of every row and every sequence of a database: equal content, equal digest."""
    return hashlib.sha256(server.sql(CONTENT, database=database).encode()).hexdigest()


CONTENT = r"""
SELECT format(
    'SELECT %L, md5(string_agg(t::text, ''|'' ORDER BY t::text)) FROM (SELECT %s FROM %I.%I) AS t',
    nspname || '.' || relname, CASE relkind WHEN 'S' THEN 'last_value' ELSE '*' END, nspname, relname
)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'S') AND nspname !~ '^(pg_|information_schema)'
ORDER BY nspname, relname
\gexec
"""


def databases(server: PostgresServer) -> list[str]:
    """Names of all databases except the templates."""
    return server.sql("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1", database="postgres").split()
