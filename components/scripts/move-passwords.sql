-- The passwords that no backup holds, as hashes, in one line of JSON: of all roles but the app's and our own, which the new
-- server has.
--
--     owner    the app's role
SELECT coalesce(jsonb_agg(jsonb_build_object('name', rolname, 'hash', rolpassword)), '[]') FROM pg_authid
WHERE oid >= 16384 AND rolpassword IS NOT NULL AND rolname NOT IN (:'owner', current_user);
