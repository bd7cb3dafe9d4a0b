-- Drops a database, if it is there, whoever uses it. Prints what goes with it elsewhere.
--
--     name    its name
SELECT count(*) > 0 AS subscribed FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
WHERE datname = :'name' \gset
\if :subscribed
-- From inside only, and without its publisher, which may be out of reach.
\connect :"name"
SELECT unnest(ARRAY[
    format('ALTER SUBSCRIPTION %I DISABLE', subname),
    format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname),
    format('DROP SUBSCRIPTION %I', subname)
])
FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
WHERE datname = :'name'
\gexec
SELECT format('a subscription of %s is dropped with it; its slot on the publisher stays there', :'name');
\connect postgres
\endif
SELECT format('the replication slot %s of %s is dropped with it: what reads from it must start again', slot_name, :'name')
FROM pg_replication_slots WHERE database = :'name';
SELECT format('ALTER DATABASE %I IS_TEMPLATE false', datname) FROM pg_database WHERE datname = :'name' AND datistemplate
\gexec
DROP DATABASE IF EXISTS :"name" WITH (FORCE);
