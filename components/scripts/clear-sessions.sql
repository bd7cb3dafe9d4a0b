-- Empties the tables in which Better Auth keeps what must not survive a restore: sessions and rate limits, however the
-- schema spells them. Row by row, so that a table which refers to them is treated as its foreign key says.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT format('%I.%I', schemaname, tablename)
        FROM pg_tables
        WHERE schemaname = 'public'
            AND lower(replace(tablename, '_', '')) IN ('session', 'sessions', 'ratelimit', 'ratelimits')
    LOOP
        EXECUTE 'DELETE FROM ' || name;
    END LOOP;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no table of sessions to clear';
    END IF;
END
$$;
