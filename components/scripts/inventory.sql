-- One line of JSON about the connected database: the rows of each table, and the last migration that Prisma finished.
-- Tables outside the schema public bear its name; those that an extension brings are not in a dump, nor are counting.sql's.
-- A partitioned table, or one that others inherit from, also has a total, as SELECT count(*) counts it.
WITH tables AS (
    SELECT pg_class.oid, relkind, nspname, relname,
        CASE nspname WHEN 'public' THEN relname ELSE nspname || '.' || relname END AS name
    FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND nspname NOT IN ('information_schema', 'restore_counting') AND nspname !~ '^pg_'
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
        )
)
SELECT format(
    'WITH RECURSIVE counts (oid, name, rows) AS MATERIALIZED (%s), parents (oid, name) AS (%s), '
    'descendants (parent, oid) AS (SELECT oid, oid FROM parents UNION'
    ' SELECT parent, inhrelid FROM descendants JOIN pg_inherits ON inhparent = oid) '
    'SELECT jsonb_build_object('
    '''rows'', (SELECT coalesce(jsonb_object_agg(name, rows), ''{}'')'
    ' FROM (SELECT name, sum(rows) FROM counts GROUP BY name) AS c (name, rows)),'
    '''totals'', (SELECT coalesce(jsonb_object_agg(name, rows), ''{}'') FROM (SELECT parents.name, coalesce(sum(rows), 0)'
    ' FROM parents JOIN descendants ON parent = parents.oid LEFT JOIN counts ON counts.oid = descendants.oid'
    ' GROUP BY parents.oid, parents.name) AS t (name, rows)),'
    '''largeObjects'', (SELECT count(*) FROM pg_largeobject_metadata), ''lastMigration'', %s)',
    coalesce(
        (
            -- By hundreds, because the server's stack limits how many a UNION has.
            SELECT string_agg(format('SELECT * FROM (%s) AS hundred', counts), ' UNION ALL ')
            FROM (
                SELECT string_agg(
                    format('SELECT %s::oid, %L, count(*) FROM ONLY %I.%I', oid, name, nspname, relname), ' UNION ALL '
                ) AS counts
                FROM (SELECT *, row_number() OVER () / 100 AS hundred FROM tables WHERE relkind = 'r') AS numbered
                GROUP BY hundred
            ) AS hundreds
        ),
        'SELECT 0::oid, NULL, 0 WHERE false'
    ),
    coalesce(
        (
            SELECT 'VALUES ' || string_agg(format('(%s::oid, %L)', oid, name), ', ')
            FROM tables WHERE relkind = 'p' OR oid IN (SELECT inhparent FROM pg_inherits)
        ),
        'SELECT 0::oid, NULL WHERE false'
    ),
    CASE WHEN to_regclass('public._prisma_migrations') IS NULL THEN 'NULL::text' ELSE
        '(SELECT migration_name FROM public._prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL'
        || ' ORDER BY finished_at DESC, migration_name DESC LIMIT 1)'
    END
)
\gexec
