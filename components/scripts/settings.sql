-- Makes the settings of a list, as globals.sql writes it: [{"inDatabase": false, "role": "clerk", "name": "work_mem", "value": "8MB"}].
--
--     settings    the list
--     database    of those that are of a database
SELECT format(
    CASE WHEN setting ->> 'inDatabase' = 'true' AND role IS NULL THEN 'ALTER DATABASE %2$I SET %3$s TO %4$s'
        WHEN setting ->> 'inDatabase' = 'true' THEN 'ALTER ROLE %1$s IN DATABASE %2$I SET %3$s TO %4$s'
        ELSE 'ALTER ROLE %1$s SET %3$s TO %4$s' END,
    coalesce(quote_ident(role), 'ALL'),
    :'database',
    (
        SELECT string_agg(quote_ident(part), '.' ORDER BY place)
        FROM string_to_table(name, '.') WITH ORDINALITY AS parts (part, place)
    ),
    -- These are lists of names (GUC_LIST_QUOTE), stored as such; as one literal they would be a list of one odd name.
    CASE WHEN name IN ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries')
    THEN coalesce(
        (
            SELECT string_agg(
                quote_literal(
                    CASE WHEN entry LIKE '"%' THEN replace(substr(entry, 2, length(entry) - 2), '""', '"') ELSE entry END
                ),
                ', '
            )
            FROM regexp_matches(given, '("(?:[^"]|"")*"|[^,\s]+)', 'g') AS entries (match), unnest(match) AS entry
        ),
        quote_literal('')
    ) ELSE quote_literal(given) END
)
FROM (
    SELECT setting, setting ->> 'role' AS role, setting ->> 'name' AS name, setting ->> 'value' AS given
    FROM jsonb_array_elements(:'settings') AS setting
) AS wanted
\gexec
