-- Gives a database that is filled and proved the name under which somebody looks into it, to read.
--
--     incoming    what it is called now
--     into        what it will be called
--     from        what it was filled from
BEGIN;
SELECT format('ALTER DATABASE %I SET default_transaction_read_only = on', :'incoming')
UNION ALL
SELECT format('COMMENT ON DATABASE %I IS %L', :'incoming', format('filled from %s, to look into', :'from'))
\gexec
ALTER DATABASE :"incoming" RENAME TO :"into";
COMMIT;
