-- Gives this server the roles of another with their passwords, as passwords.sql writes them, on standard input; their
-- attributes come with the backup.
\set VERBOSITY terse
\set given `cat`
SELECT format('CREATE ROLE %I', name) FROM jsonb_to_recordset(:'given'::jsonb) AS x (name text)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
UPDATE pg_catalog.pg_authid SET rolpassword = hash FROM jsonb_to_recordset(:'given'::jsonb) AS x (name text, hash text)
WHERE rolname = name;
