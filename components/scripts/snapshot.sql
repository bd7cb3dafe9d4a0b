-- Dump and inventory of one and the same snapshot. This session's locks keep everybody from truncating a table between
-- its dump and its count. Who asks for such a table in just the moment before pg_dump does would wait for this session,
-- pg_dump for them and this session for pg_dump: pg_dump then gives up, and backup.sh lets them pass and begins again.
SET lock_timeout = '10s';
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AND (
        EXISTS (SELECT FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid WHERE datname = current_database())
        OR EXISTS (SELECT FROM pg_user_mappings WHERE umoptions IS NULL)
    ) THEN
        RAISE EXCEPTION 'a role without SUPERUSER cannot back up subscriptions, nor the options of other roles'' user mappings';
    END IF;
END
$$;
-- With pg_read_all_data a role reads everything but the large objects of other roles. A server that has not started since
-- hand-over.sql grants that parameter does not let it set this.
SELECT pg_export_snapshot() AS snapshot, getdatabaseencoding() AS encoding,
    CASE WHEN has_parameter_privilege('lo_compat_privileges', 'SET') THEN '-c lo_compat_privileges=on' ELSE '' END AS more \gset
\setenv SNAPSHOT :snapshot
\setenv ENCODING :encoding
\setenv MORE_OPTIONS :more
SELECT 'LOCK TABLE ' || string_agg(format('ONLY %I.%I', nspname, relname), ', ') || ' IN ACCESS SHARE MODE'
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
HAVING count(*) > 0
\gexec
\! PGOPTIONS="$PGOPTIONS $MORE_OPTIONS" exec pg_dump --format=custom --compress="${DUMP_COMPRESSION:-gzip}" $STATISTICS --no-password --lock-wait-timeout=1s --encoding="$ENCODING" --snapshot="$SNAPSHOT" --file="$DUMP"
\if :SHELL_ERROR
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))) AS in_the_way \gset
\if :in_the_way
\! touch "$DUMP.in-the-way"
\endif
DO $$ BEGIN RAISE EXCEPTION 'pg_dump failed'; END $$;
\endif
\o :inventory
\ir inventory.sql
\set database :DBNAME
\ir globals.sql
\o :globals_file
SELECT :'globals';
\o :about
SELECT jsonb_build_object(
    'database', current_database(), 'serverVersion', current_setting('server_version'),
    'databaseBytes', pg_database_size(current_database()), 'publicSchema', to_regnamespace('public') IS NOT NULL,
    'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
    'connections', current_setting('max_connections')::integer,
    'locksPerTransaction', current_setting('max_locks_per_transaction')::integer
);
\o
COMMIT;
