-- Puts the restored database in the place of the old one: both names change in one transaction, or neither does.
-- Whoever is connected is disconnected; who connects meanwhile waits, and finds the new database.
BEGIN;
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname IN (:'database', :'incoming') AND pid <> pg_backend_pid() AND backend_type = 'client backend' \g /dev/null
ALTER DATABASE :"database" RENAME TO :"replaced";
ALTER DATABASE :"incoming" RENAME TO :"database";
COMMIT;
