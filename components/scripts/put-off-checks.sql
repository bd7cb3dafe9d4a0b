-- Takes the CHECK constraints away from tables and domains that have no rows yet, for put-back-checks.sql to bring back. A
-- dump does not order its rows by what a constraint looks up in other tables, and what a condition says may have changed
-- since: https://www.postgresql.org/docs/18/ddl-constraints.html#DDL-CONSTRAINTS-CHECK-CONSTRAINTS
CREATE UNLOGGED TABLE restore_counting.checks AS
SELECT oid AS place, conname AS name, conrelid, contypid, pg_get_constraintdef(oid) AS definition,
    CASE conrelid WHEN 0 THEN 'DOMAIN ' || contypid::regtype ELSE 'TABLE ' || conrelid::regclass END AS subject,
    CASE conrelid WHEN 0 THEN 'DOMAIN ' || contypid::regtype ELSE conrelid::regclass::text END AS shown,
    obj_description(oid, 'pg_constraint') AS comment
FROM pg_constraint
WHERE contype = 'c' AND convalidated AND (conislocal OR contypid <> 0) AND oid >= 16384;

-- Parents come first, as in the dump; what a child has inherited goes with them.
SELECT format('ALTER %s DROP CONSTRAINT %I', subject, name) FROM restore_counting.checks ORDER BY place
\gexec
