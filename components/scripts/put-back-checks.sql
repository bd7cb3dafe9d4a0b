-- Brings back what put-off-checks.sql has taken away. Prints the constraints that rows do not pass, which stay NOT VALID: they
-- apply to new rows.
SELECT unnest(ARRAY[
    format('ALTER %s ADD CONSTRAINT %I %s NOT VALID', subject, name, definition),
    format('COMMENT ON CONSTRAINT %I ON %s IS %L', name, shown, comment)
])
FROM restore_counting.checks ORDER BY place
\gexec
\set ON_ERROR_STOP off
SELECT format('ALTER %s VALIDATE CONSTRAINT %I', subject, name) FROM restore_counting.checks ORDER BY place
\gexec
\set ON_ERROR_STOP on
SELECT string_agg(format('%s of %s', name, shown), ', ' ORDER BY place) FROM restore_counting.checks
JOIN pg_constraint ON conname = name AND (pg_constraint.conrelid, pg_constraint.contypid) = (checks.conrelid, checks.contypid)
WHERE NOT convalidated;
