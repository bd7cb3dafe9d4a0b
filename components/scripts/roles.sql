-- Makes the server's roles what they were when a backup was taken, as far as the backup names them: attributes, comments,
-- settings, memberships, and privileges on parameters. Roles that it does not name stay as they are. No passwords, which it
-- does not hold; nor the attributes of the role that we are, which keeps what it was granted since, too: its backups need
-- that; nor those of the app's role, which may have been lent SUPERUSER when the backup was taken: it has those that this
-- server gives it; nor those of the server's first role, as which the start hook and CloudNativePG's instances log in, and
-- which may have the name of an ordinary role of the backup. Runs in its caller's transaction.
--
--     database    name of the backup's database
--     owner       the app's role; may be the role that we are
--     only        missing: makes the roles that are not there, and touches no other; all
SET LOCAL timezone = 'UTC';
\ir wanted.sql
\ir globals.sql
SELECT coalesce(jsonb_agg(role ->> 'name'), '[]') AS named FROM jsonb_array_elements(:'wanted'::jsonb -> 'roles') AS role
WHERE :'only' = 'all' OR NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role ->> 'name') \gset

SELECT format('CREATE ROLE %I', name) FROM jsonb_array_elements_text(:'named') AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

SELECT unnest(ARRAY[
    CASE WHEN name NOT IN (current_user, :'owner', pg_get_userbyid(10)) THEN format(
        'ALTER ROLE %I %s CONNECTION LIMIT %s%s',
        name,
        (
            SELECT string_agg(CASE WHEN given THEN '' ELSE 'NO' END || attribute, ' ')
            FROM (
                VALUES (superuser, 'SUPERUSER'), (inherit, 'INHERIT'), ("createRole", 'CREATEROLE'),
                    ("createDatabase", 'CREATEDB'), (login, 'LOGIN'), (replication, 'REPLICATION'), ("bypassRls", 'BYPASSRLS')
            ) AS attributes (given, attribute)
        ),
        "connectionLimit",
        -- Where there was no end, and is one now, it cannot be taken away, only put off.
        ' VALID UNTIL ' || quote_literal(coalesce(
            "validUntil", (SELECT 'infinity' FROM pg_roles WHERE rolname = name AND rolvaliduntil IS NOT NULL)
        ))
    ) END,
    format('COMMENT ON ROLE %I IS %L', name, comment)
])
FROM jsonb_to_recordset(:'wanted'::jsonb -> 'roles') AS x (
    name text, superuser boolean, inherit boolean, "createRole" boolean, "createDatabase" boolean, login boolean,
    replication boolean, "bypassRls" boolean, "connectionLimit" integer, "validUntil" text, comment text
)
WHERE :'named'::jsonb ? name
\gexec

-- A setting of all roles has no role.
SELECT format('ALTER ROLE %s RESET ALL', coalesce(quote_ident(role), 'ALL'))
FROM (
    SELECT DISTINCT setting ->> 'role' AS role FROM jsonb_array_elements(:'globals'::jsonb -> 'settings') AS setting
    WHERE setting ->> 'inDatabase' = 'false'
) AS present
WHERE :'named'::jsonb ? role OR role IS NULL AND :'only' = 'all' AND :'wanted'::jsonb ? 'roles'
\gexec
SELECT coalesce(jsonb_agg(setting), '[]') AS settings FROM jsonb_array_elements(:'wanted'::jsonb -> 'settings') AS setting
WHERE setting ->> 'inDatabase' = 'false'
    AND (:'named'::jsonb ? (setting ->> 'role') OR NOT setting ? 'role' AND :'only' = 'all') \gset
\ir settings.sql

SELECT format(
    'REVOKE %I FROM %I%s CASCADE', found ->> 'role', found ->> 'member', ' GRANTED BY ' || quote_ident(found ->> 'grantor')
)
FROM jsonb_array_elements(:'globals'::jsonb -> 'memberships') AS found
WHERE :'named'::jsonb ? (found ->> 'member') AND (:'named'::jsonb ? (found ->> 'role') OR found ->> 'role' ~ '^pg_')
    AND found NOT IN (SELECT jsonb_array_elements(:'wanted'::jsonb -> 'memberships')) AND found ->> 'member' <> current_user
\gexec
WITH RECURSIVE wanted AS (
    SELECT * FROM jsonb_to_recordset(:'wanted'::jsonb -> 'memberships')
        AS x (role text, member text, grantor text, admin boolean, inherit boolean, set boolean)
), ordered AS (
    -- Who passes a membership on has got it before.
    SELECT 0 AS depth, wanted.* FROM wanted WHERE grantor IS NULL
    UNION ALL
    SELECT depth + 1, wanted.* FROM wanted
    JOIN ordered ON ordered.role = wanted.role AND ordered.member = wanted.grantor AND ordered.admin
)
SELECT format(
    'GRANT %I TO %I WITH ADMIN %s, INHERIT %s, SET %s%s', role, member, admin::text, inherit::text, set::text,
    -- Whether it may be passed on by that role at this moment is only certain when all of them are as they were.
    CASE :'only' WHEN 'all' THEN ' GRANTED BY ' || quote_ident(grantor) END
)
FROM ordered
WHERE :'named'::jsonb ? member
GROUP BY role, member, grantor, admin, inherit, set
ORDER BY max(depth)
\gexec

SELECT format(
    'REVOKE ALL ON PARAMETER %s FROM %s CASCADE',
    (
        SELECT string_agg(quote_ident(part), '.' ORDER BY place)
        FROM string_to_table(found ->> 'parameter', '.') WITH ORDINALITY AS parts (part, place)
    ),
    coalesce(quote_ident(found ->> 'grantee'), 'PUBLIC')
)
FROM jsonb_array_elements(:'globals'::jsonb -> 'privileges') AS found
WHERE found ? 'parameter' AND :'only' = 'all'
    AND found NOT IN (SELECT jsonb_array_elements(:'wanted'::jsonb -> 'privileges'))
    AND (:'named'::jsonb ? (found ->> 'grantee') AND found ->> 'grantee' <> current_user OR NOT found ? 'grantee')
\gexec
SELECT jsonb_path_query_array(:'wanted', '$.privileges[*] ? (exists (@.parameter))') AS privileges \gset
SELECT CASE :'only' WHEN 'all' THEN :'privileges' ELSE '[]' END AS privileges \gset
\ir privileges.sql
\unset privileges
