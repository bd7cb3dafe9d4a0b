-- One line for each thing that a restore leaves to somebody.
--
--     database    name of the restored database
\ir wanted.sql
SELECT 'no backup holds passwords, and these roles have none to log in with: ' || string_agg(rolname, ', ' ORDER BY rolname)
FROM pg_authid
WHERE rolcanlogin AND rolpassword IS NULL
    AND rolname IN (SELECT role ->> 'name' FROM jsonb_array_elements(:'wanted'::jsonb -> 'roles') AS role)
HAVING count(*) > 0;
SELECT 'these subscriptions wait to be enabled and refreshed, and get nothing again that came after the backup: '
    || string_agg(subname, ', ' ORDER BY subname)
FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
WHERE datname = :'database'
HAVING count(*) > 0;
