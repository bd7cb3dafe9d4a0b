-- Makes the roles of a backup that this server does not have, and prints their names: a JSON array.
--
--     database    as roles.sql has it
BEGIN;
\set only missing
\ir roles.sql
COMMIT;
SELECT :'named' WHERE :'named' <> '[]';
