-- Empties what must not survive a restore: sessions and rate limits, as Better Auth keeps them, however the schema spells
-- them. Row by row, so that a table which refers to them is treated as its foreign key says. Prints what it has emptied.
-- Fails where rows are left, or where a table may hold sessions and nobody has said whether it does.
--
--     standard input    names of the tables that hold sessions: a JSON array of "table", or "schema.table" outside public
\set named `cat`
BEGIN;
SELECT set_config('restore.session_tables', :'named', true) \g /dev/null
CREATE TEMPORARY TABLE cleared (name text, rows bigint) ON COMMIT DROP;
DO $$
DECLARE
    named jsonb := current_setting('restore.session_tables');
    found record;
    unclear text;
    unknown text;
    rows bigint;
    rest boolean;
BEGIN
    CREATE TEMPORARY TABLE candidates ON COMMIT DROP AS
    SELECT pg_class.oid::regclass AS relation, pg_class.oid, shown, named ? shown AS is_named,
        spelt IN ('session', 'sessions') AS is_session,
        spelt IN ('ratelimit', 'ratelimits') AS is_rate_limit,
        -- Whose name says session; or what logs somebody in: tokens or logins of users, or a token of a user with an end.
        spelt LIKE '%session%' OR of_user AND (spelt ~ '(token|login)s?$' OR has_token AND has_end) AS looks_like_one
    FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace,
        LATERAL (
            SELECT lower(replace(relname, '_', '')),
                CASE nspname WHEN 'public' THEN relname ELSE nspname || '.' || relname END
        ) AS names (spelt, shown),
        LATERAL (
            SELECT bool_or(name ~ '^(user|account|member|customer|owner|person|principal|subject|tokenable)(id|uuid)?$'
                    OR name = 'uid'),
                bool_or(name ~ '^(session|auth|login|remember)?(token|tokenhash|tokendigest|hashedtoken)$'
                    OR name IN ('jti', 'sid', 'sessionid', 'sessionkey')),
                bool_or(name ~ '^(expir|validuntil|validto|ttl|exp$)')
            FROM pg_attribute, lower(replace(attname, '_', '')) AS name
            WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        ) AS attributes (of_user, has_token, has_end)
    WHERE relkind IN ('r', 'p', 'f') AND NOT relispartition AND nspname <> 'information_schema' AND nspname !~ '^pg_';

    SELECT string_agg(name, ', ') INTO unknown FROM jsonb_array_elements_text(named) AS name
    WHERE name NOT IN (SELECT shown FROM candidates);
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'there is no table %, which backup.sessionTables names', unknown;
    END IF;
    IF named = '[]' THEN
        SELECT string_agg(shown, ', ' ORDER BY shown) INTO unclear FROM candidates WHERE looks_like_one AND NOT is_session;
        IF unclear IS NOT NULL THEN
            RAISE EXCEPTION 'these tables may hold sessions: %; list those that do in backup.sessionTables of the stack file, '
                'or only the session table if none of them does', unclear;
        END IF;
    END IF;
    FOR found IN
        SELECT * FROM candidates WHERE is_rate_limit OR CASE named WHEN '[]' THEN is_session ELSE is_named END ORDER BY shown
    LOOP
        EXECUTE format('DELETE FROM %s', found.relation);
        GET DIAGNOSTICS rows = ROW_COUNT;
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', found.relation) INTO rest;
        IF rest THEN
            RAISE EXCEPTION 'rows are left in %: a trigger or a rule keeps them from being deleted', found.shown;
        END IF;
        INSERT INTO cleared VALUES (found.shown, rows);
    END LOOP;
    IF NOT EXISTS (SELECT FROM candidates WHERE CASE named WHEN '[]' THEN is_session ELSE is_named END) THEN
        RAISE EXCEPTION 'there is no table of sessions to clear';
    END IF;
END
$$;
SELECT string_agg(format('%s (%s rows)', name, rows), ', ' ORDER BY name) FROM cleared;
COMMIT;
