-- Makes an empty database with the properties, settings and privileges that a backup's database had; for a dump without a
-- manifest, those of the database that it is to replace. Prints the tablespaces that this server does not have.
--
--     name    of the new database
--     like    the database to be replaced
\set database :like
\ir globals.sql
\ir wanted.sql
SELECT CASE WHEN :'wanted'::jsonb ? 'database' THEN :'wanted' ELSE :'globals' END AS globals \gset
SELECT :'globals'::jsonb -> 'database' AS properties, :'globals'::jsonb -> 'privileges' AS granted,
    jsonb_path_query_array(:'globals', '$.settings[*] ? (@.inDatabase == true)') AS settings \gset

-- A locale is the operating system's, and the images of the two engines do not have the same ones.
CREATE FUNCTION pg_temp.has_locale(name text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE COLLATION pg_temp.tried (provider = libc, locale = %L)', name);
    DROP COLLATION pg_temp.tried;
    RETURN true;
EXCEPTION WHEN undefined_object OR feature_not_supported OR invalid_parameter_value THEN
    RETURN false;
END
$$;
SELECT :'properties'::jsonb ->> 'collate' AS wanted_locale,
    :'properties'::jsonb ->> 'localeProvider' = 'libc' AS sorts_text,
    NOT (
        pg_temp.has_locale(:'properties'::jsonb ->> 'collate') AND pg_temp.has_locale(:'properties'::jsonb ->> 'ctype')
    ) AS locale_is_missing \gset
\if :locale_is_missing
SELECT :'properties'::jsonb || jsonb_build_object('collate', datcollate, 'ctype', datctype) || CASE
    WHEN :'sorts_text'::boolean THEN jsonb_build_object(
        'localeProvider', CASE datlocprovider WHEN 'b' THEN 'builtin' WHEN 'i' THEN 'icu' ELSE 'libc' END,
        'locale', datlocale, 'icuRules', daticurules
    ) ELSE '{}' END AS properties, coalesce(datlocale, datcollate) AS own_locale FROM pg_database WHERE datname = :'like' \gset
\if :sorts_text
\warn 'this server has no locale' :wanted_locale 'so text is sorted by' :own_locale 'as in the database that is replaced'
\endif
\endif

SELECT format(
    'CREATE DATABASE %I TEMPLATE template0 OWNER %I ENCODING %L LOCALE_PROVIDER %s LC_COLLATE %L LC_CTYPE %L',
    :'name', owner, encoding, "localeProvider", "collate", ctype
    )
    || CASE "localeProvider" WHEN 'icu' THEN format(' ICU_LOCALE %L', locale)
        WHEN 'builtin' THEN format(' BUILTIN_LOCALE %L', locale) ELSE '' END
    || coalesce(' ICU_RULES ' || quote_literal("icuRules"), '')
    || coalesce((SELECT format(' TABLESPACE %I', spcname) FROM pg_tablespace WHERE spcname = tablespace), '')
FROM jsonb_to_record(:'properties') AS x (
    owner text, encoding text, "localeProvider" text, "collate" text, ctype text, locale text, "icuRules" text,
    tablespace text
)
\gexec

BEGIN;
SELECT format(
    'ALTER DATABASE %I CONNECTION LIMIT %s IS_TEMPLATE %s',
    :'name', :'properties'::jsonb ->> 'connectionLimit', :'properties'::jsonb ->> 'template'
)
UNION ALL
SELECT format('COMMENT ON DATABASE %I IS %L', :'name', :'properties'::jsonb ->> 'comment')
UNION ALL
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC, %I', :'name', :'properties'::jsonb ->> 'owner')
WHERE :'properties'::jsonb ->> 'defaultPrivileges' = 'false'
\gexec
\set database :name
SELECT jsonb_path_query_array(:'granted', '$[*] ? (!exists (@.parameter))') AS privileges \gset
SELECT CASE :'properties'::jsonb ->> 'defaultPrivileges' WHEN 'true' THEN '[]' ELSE :'privileges' END AS privileges \gset
\ir privileges.sql
\ir settings.sql
COMMIT;
SELECT string_agg(tablespace, ', ') FROM jsonb_array_elements_text(:'globals'::jsonb -> 'tablespaces') AS tablespace
WHERE tablespace NOT IN (SELECT spcname FROM pg_tablespace);
