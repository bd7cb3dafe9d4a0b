-- Sets `globals`, one line of JSON: what belongs to a database and is not in it, so that pg_dump writes it for --create or
-- not at all. Its properties, settings and privileges; the server's roles, their settings and memberships. No passwords.
--
--     database    its name
--
-- A name that is missing stands for everybody: the grantee PUBLIC, the settings of ALL roles. A membership without a grantor
-- was granted by the server's first role, whatever it is called.
SELECT jsonb_build_object(
    'database', (
        SELECT jsonb_build_object(
            'owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
            'localeProvider', CASE datlocprovider WHEN 'b' THEN 'builtin' WHEN 'i' THEN 'icu' ELSE 'libc' END,
            'collate', datcollate, 'ctype', datctype, 'locale', datlocale, 'icuRules', daticurules,
            'tablespace', spcname, 'connectionLimit', datconnlimit, 'template', datistemplate,
            'comment', shobj_description(pg_database.oid, 'pg_database'),
            'defaultPrivileges', datacl IS NULL
        )
        FROM pg_database
        JOIN pg_tablespace ON pg_tablespace.oid = dattablespace
        WHERE datname = :'database'
    ),
    'privileges', (
        -- In the order in which they were granted: who passes a privilege on has got it before.
        SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'parameter', parameter, 'privilege', privilege_type, 'grantable', is_grantable,
            'grantee', (SELECT rolname FROM pg_roles WHERE oid = grantee),
            'grantor', pg_get_userbyid(grantor)
        )) ORDER BY parameter, place), '[]')
        FROM (
            SELECT NULL, datacl FROM pg_database WHERE datname = :'database'
            UNION ALL
            SELECT parname, paracl FROM pg_parameter_acl
        ) AS lists (parameter, list),
            aclexplode(list) WITH ORDINALITY AS items (grantor, grantee, privilege_type, is_grantable, place)
        -- A parameter belongs to the first role, which has its privileges anyway.
        WHERE parameter IS NULL OR grantee <> 10
    ),
    'settings', (
        SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'inDatabase', setdatabase <> 0,
            'role', (SELECT rolname FROM pg_roles WHERE oid = setrole),
            'name', split_part(setting, '=', 1),
            'value', substr(setting, strpos(setting, '=') + 1)
        ))), '[]')
        FROM pg_db_role_setting, unnest(setconfig) AS setting
        WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = :'database'))
    ),
    'roles', (
        SELECT jsonb_agg(jsonb_build_object(
            'name', rolname, 'superuser', rolsuper, 'inherit', rolinherit, 'createRole', rolcreaterole,
            'createDatabase', rolcreatedb, 'login', rolcanlogin, 'replication', rolreplication, 'bypassRls', rolbypassrls,
            'connectionLimit', rolconnlimit,
            'validUntil', rolvaliduntil AT TIME ZONE 'UTC',
            'comment', shobj_description(oid, 'pg_authid')
        ))
        FROM pg_roles
        WHERE rolname !~ '^pg_'
    ),
    'memberships', (
        SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
            'role', pg_get_userbyid(roleid), 'member', pg_get_userbyid(member),
            'grantor', CASE WHEN grantor <> 10 THEN pg_get_userbyid(grantor) END,
            'admin', admin_option, 'inherit', inherit_option, 'set', set_option
        ))), '[]')
        FROM pg_auth_members
        WHERE pg_get_userbyid(roleid) !~ '^pg_' OR pg_get_userbyid(member) !~ '^pg_'
    ),
    'tablespaces', (
        SELECT coalesce(jsonb_agg(spcname), '[]') FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')
    )
) AS globals \gset
