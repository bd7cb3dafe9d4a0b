-- Whether the renaming of swap.sql has happened: t or f. One whose connection is lost may still be under way: the lock waits
-- until it has committed or given up.
SET lock_timeout = '3s';
BEGIN;
LOCK pg_database IN SHARE MODE;
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :'replaced')
  AND NOT EXISTS (SELECT FROM pg_database WHERE datname = :'incoming');
COMMIT;
