-- Statements that give another server the roles of this one, each with its password's hash; without its attributes, which come
-- with the backup. For the app's role, which is there already, the hash alone. The first role has no password.
SELECT format('CREATE ROLE %I;', rolname) FROM pg_authid WHERE oid >= 16384 AND rolname <> current_user;
SELECT format('UPDATE pg_catalog.pg_authid SET rolpassword = %L WHERE rolname = %L;', rolpassword, rolname)
FROM pg_authid WHERE oid >= 16384;
