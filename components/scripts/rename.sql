-- Gives a database another name, in one transaction, and ends its sessions.
--
--     from    its name
--     to      its new one
BEGIN;
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = :'from' AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker' \g /dev/null
ALTER DATABASE :"from" RENAME TO :"to";
COMMIT;
