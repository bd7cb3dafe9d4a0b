-- Makes the roles of a backup that this server does not have, and prints their names: a JSON array.
--
--     database, owner    as roles.sql has them
BEGIN;
\set only missing
\ir roles.sql
COMMIT;
SELECT :'named' WHERE :'named' <> '[]';
