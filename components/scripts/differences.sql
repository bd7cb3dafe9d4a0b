-- One line for each thing that globals.sql finds otherwise than a backup has it: the database, or a role that the backup
-- names, and what of it differs. Nothing for a dump that has no such list.
--
--     database, owner    as roles.sql has them
\ir wanted.sql
\ir globals.sql
WITH sides (side, document) AS (VALUES ('wanted', :'wanted'::jsonb), ('found', :'globals'::jsonb)),
parts (side, subject, what, value) AS (
    SELECT side, NULL, key, property FROM sides, jsonb_each(document -> 'database') AS properties (key, property)
    WHERE key <> 'tablespace'
    UNION ALL
    -- No end and one at infinity are the same.
    SELECT side, role ->> 'name', key,
        CASE key WHEN 'validUntil' THEN coalesce(nullif(attribute, 'null'), '"infinity"') ELSE attribute END
    FROM sides, jsonb_array_elements(document -> 'roles') AS role, jsonb_each(role) AS attributes (key, attribute)
    WHERE role ->> 'name' NOT IN (current_user, :'owner', pg_get_userbyid(10)) OR key = 'comment'
    UNION ALL
    SELECT side, setting ->> 'role', setting ->> 'name', setting
    FROM sides, jsonb_array_elements(document -> 'settings') AS setting
    UNION ALL
    SELECT side, membership ->> 'member', 'membership of ' || (membership ->> 'role'), membership
    FROM sides, jsonb_array_elements(document -> 'memberships') AS membership
    UNION ALL
    -- Privileges on parameters are the first role's to grant, whatever it is called.
    SELECT side, privilege ->> 'grantee', privilege ->> 'privilege',
        CASE WHEN privilege ? 'parameter' THEN privilege - 'grantor' ELSE privilege END
    FROM sides, jsonb_array_elements(document -> 'privileges') AS privilege
), differing AS (
    SELECT subject, what, value FROM parts GROUP BY subject, what, value
    -- What we were granted since is ours to keep: see roles.sql.
    HAVING count(DISTINCT side) = 1
        AND NOT (max(side) = 'found' AND subject = current_user AND (what LIKE 'membership of %' OR value ? 'parameter'))
)
SELECT coalesce('role ' || subject, 'database') || ': ' || string_agg(DISTINCT what, ', ' ORDER BY what)
FROM differing
WHERE subject IS NULL AND :'wanted'::jsonb ? 'database'
    OR subject IN (SELECT role ->> 'name' FROM jsonb_array_elements(:'wanted'::jsonb -> 'roles') AS role)
GROUP BY subject
ORDER BY subject;
