-- One line for each difference between what is expected and what was found, both as inventory.sql writes them, in one JSON
-- array on standard input; nothing where they agree. A table or a migration that is not expected by name is no difference
-- when `partial` is set; a table of several then has the rows of all, as SELECT count(*) has.
\set documents `cat`
SELECT :'documents'::jsonb -> 0 AS expected, :'documents'::jsonb -> 1 AS found \gset
SELECT format('table %s: %s rows expected, %s found', key, coalesce(expected.value, 'no'), coalesce(found.value, 'no'))
FROM jsonb_each_text(:'expected'::jsonb -> 'rows') AS expected
FULL JOIN jsonb_each_text(
    (:'found'::jsonb -> 'rows') || CASE WHEN :'expected'::jsonb ? 'partial' THEN :'found'::jsonb -> 'totals' ELSE '{}' END
) AS found USING (key)
WHERE expected.value IS DISTINCT FROM found.value AND (expected.value IS NOT NULL OR NOT :'expected'::jsonb ? 'partial')
ORDER BY key;
SELECT format('last migration: %s expected, %s found', coalesce(expected, 'none'), coalesce(found, 'none'))
FROM (SELECT :'expected'::jsonb ->> 'lastMigration' AS expected, :'found'::jsonb ->> 'lastMigration' AS found) AS last
WHERE expected IS DISTINCT FROM found AND NOT :'expected'::jsonb ? 'partial';
-- Backups of before they were counted do not say how many there were.
SELECT format('large objects: %s expected, %s found', expected, found)
FROM (SELECT :'expected'::jsonb ->> 'largeObjects' AS expected, :'found'::jsonb ->> 'largeObjects' AS found) AS counts
WHERE expected <> found;
