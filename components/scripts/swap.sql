-- Puts the restored database in the place of the old one: both names change in one transaction, or neither does; and with
-- them the roles that the backup names, of which it prints those that were otherwise. Whoever is connected, replication
-- included, is disconnected; who connects meanwhile waits, and finds the new database.
BEGIN;
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname IN (:'database', :'incoming') AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker' \g /dev/null
ALTER DATABASE :"database" RENAME TO :"replaced";
ALTER DATABASE :"incoming" RENAME TO :"database";
\ir differences.sql
\set only all
\ir roles.sql
COMMIT;
