-- Makes the settings of a list, as globals.sql writes it: [{"inDatabase": false, "role": "clerk", "name": "work_mem", "value": "8MB"}].
-- What this server does not take, such as a locale that it does not have, is left out, and said; and so is a library that it
-- cannot load, for which it would take the setting, and then nobody's session.
--
--     settings    the list
--     database    of those that are of a database
WITH wanted AS (
    SELECT setting ->> 'inDatabase' = 'true' AS in_database, setting ->> 'role' AS role, setting ->> 'name' AS name,
        setting ->> 'value' AS given, entries
    FROM jsonb_array_elements(:'settings') AS setting,
        -- These are lists of names (GUC_LIST_QUOTE), stored as such; as one literal they would be a list of one odd name.
        LATERAL (
            SELECT array_agg(CASE WHEN entry LIKE '"%' THEN replace(substr(entry, 2, length(entry) - 2), '""', '"') ELSE entry END)
            FROM regexp_matches(setting ->> 'value', '("(?:[^"]|"")*"|[^,\s]+)', 'g') AS found (match), unnest(match) AS entry
        ) AS lists (entries)
), statements AS (
    SELECT name, format(
        CASE WHEN in_database AND role IS NULL THEN 'ALTER DATABASE %2$I SET %3$s TO %4$s'
            WHEN in_database THEN 'ALTER ROLE %1$s IN DATABASE %2$I SET %3$s TO %4$s'
            ELSE 'ALTER ROLE %1$s SET %3$s TO %4$s' END,
        coalesce(quote_ident(role), 'ALL'),
        :'database',
        (
            SELECT string_agg(quote_ident(part), '.' ORDER BY place)
            FROM string_to_table(name, '.') WITH ORDINALITY AS parts (part, place)
        ),
        CASE WHEN name IN ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries')
        THEN coalesce((SELECT string_agg(quote_literal(entry), ', ') FROM unnest(entries) AS entry), quote_literal(''))
        ELSE quote_literal(given) END
    ) AS statement,
        CASE WHEN name LIKE '%_preload_libraries' THEN (
            SELECT string_agg(format(
                'LOAD %L; ', CASE name WHEN 'local_preload_libraries' THEN '$libdir/plugins/' ELSE '' END || entry
            ), '') FROM unnest(entries) AS entry
        ) END AS libraries,
        CASE WHEN role IS NOT NULL THEN 'the role ' || role WHEN in_database THEN 'the database' ELSE 'all roles' END AS whose
    FROM wanted
)
SELECT format('DO %L', format(
    'BEGIN BEGIN %s EXCEPTION WHEN OTHERS THEN RAISE undefined_object; END; EXECUTE %L; '
    'EXCEPTION WHEN undefined_object OR invalid_parameter_value THEN RAISE WARNING USING MESSAGE = %L; END',
    libraries, statement, format('this server does not take the setting %s of %s', name, whose)
))
FROM statements
\gexec
