-- One line of JSON about the connected database: the rows of each table, and the last migration that Prisma finished.
-- Tables outside the schema public bear its name; those that an extension brings are not in a dump, nor are counting.sql's.
SELECT format(
    'SELECT jsonb_build_object(''rows'', %s, ''lastMigration'', %s)',
    coalesce(
        '(SELECT jsonb_object_agg(name, rows) FROM ('
        || string_agg(
            format(
                'SELECT %L AS name, count(*) AS rows FROM ONLY %I.%I',
                CASE nspname WHEN 'public' THEN relname ELSE nspname || '.' || relname END, nspname, relname
            ),
            ' UNION ALL '
        )
        || ') AS counts)',
        '''{}''::jsonb'
    ),
    CASE WHEN to_regclass('public._prisma_migrations') IS NULL THEN 'NULL::text' ELSE
        '(SELECT migration_name FROM public._prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL'
        || ' ORDER BY finished_at DESC, migration_name DESC LIMIT 1)'
    END
)
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname NOT IN ('information_schema', 'restore_counting') AND nspname !~ '^pg_'
    AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
    )
\gexec
