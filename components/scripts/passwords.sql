-- The roles' passwords as hashes, which no backup contains, in one line of JSON: of all roles but those that the new server
-- has a password for.
--
--     owner, administrator    these roles; may be empty
SELECT coalesce(jsonb_agg(jsonb_build_object('name', rolname, 'hash', rolpassword)), '[]') FROM pg_authid
WHERE oid >= 16384 AND rolpassword IS NOT NULL AND rolname NOT IN (:'owner', :'administrator');
