-- Empties the tables in which Better Auth keeps what must not survive a restore: sessions and rate limits, however the
-- schema spells them.
SELECT 'TRUNCATE ' || string_agg(format('%I.%I', schemaname, tablename), ', ') AS clear, count(*) > 0 AS found
FROM pg_tables
WHERE schemaname = 'public' AND lower(replace(tablename, '_', '')) IN ('session', 'sessions', 'ratelimit', 'ratelimits')
\gset
\if :found
:clear CASCADE;
\else
DO $$ BEGIN RAISE EXCEPTION 'there is no table of sessions to clear'; END $$;
\endif
