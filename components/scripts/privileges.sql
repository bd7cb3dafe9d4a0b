-- Grants a list of privileges on a database and on parameters, as globals.sql writes it.
--
--     privileges    the list
--     database      name of the database
SELECT format(
    '%sGRANT %s ON %s TO %s%s%s',
    -- As whom it was granted, where that was not the owner.
    CASE WHEN grantor <> owner THEN format('SET LOCAL ROLE %I; ', grantor) ELSE '' END,
    privilege,
    coalesce(
        'PARAMETER ' || (
            SELECT string_agg(quote_ident(part), '.' ORDER BY place)
            FROM string_to_table(parameter, '.') WITH ORDINALITY AS parts (part, place)
        ),
        format('DATABASE %I', :'database')
    ),
    coalesce(quote_ident(grantee), 'PUBLIC'),
    CASE WHEN grantable THEN ' WITH GRANT OPTION' ELSE '' END,
    CASE WHEN grantor <> owner THEN '; SET LOCAL ROLE NONE' ELSE '' END
)
FROM jsonb_to_recordset(:'privileges') AS x (parameter text, privilege text, grantee text, grantor text, grantable boolean),
    LATERAL (
        SELECT pg_get_userbyid(CASE WHEN parameter IS NULL THEN datdba ELSE 10 END) AS owner
        FROM pg_database WHERE datname = :'database'
    ) AS owners
\gexec
