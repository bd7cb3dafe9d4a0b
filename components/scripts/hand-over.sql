-- Takes SUPERUSER from the app's role, where it is the server's first one, as the image makes it: that role becomes
-- `postgres`, which has no password and is rejected over TCP; a new role of the old name takes over its password, settings,
-- database and objects. One transaction: whatever is killed, the old state is there or the new one, and both let the app in.
-- Run over the pod's socket, in the app's database, by the first role. Run again, it ends what was begun.
--
--     role       the app's role
--     monitor    the exporter's role, which the app's may go on setting up; there need not be one
\set ON_ERROR_STOP on
SET search_path = pg_catalog, pg_temp;
SET lock_timeout = '10s';
SET client_min_messages = warning;
SELECT set_config('hand_over.role', :'role', false), set_config('hand_over.monitor', :'monitor', false) \g /dev/null
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role' AND oid = 10) AS is_first \gset

-- Who owns what, as far as ALTER ... OWNER changes it: indexes, row types and sequences of columns follow their table. What
-- only a superuser may own is left out, and so are the functions of event triggers, which run as whoever meets them.
CREATE TEMPORARY VIEW owners AS
SELECT classid, objid, owner, identified.type, identified.identity
FROM (
    SELECT 'pg_class'::regclass::oid AS classid, oid AS objid, relowner AS owner FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f') OR relkind = 'S' AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid
            AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    )
    UNION ALL
    SELECT 'pg_type'::regclass, oid, typowner FROM pg_type
    WHERE typtype <> 'm' AND NOT EXISTS (SELECT FROM pg_type AS element WHERE element.typarray = pg_type.oid)
        AND (typrelid = 0 OR EXISTS (SELECT FROM pg_class WHERE pg_class.oid = typrelid AND relkind = 'c'))
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc WHERE prorettype <> 'event_trigger'::regtype
    UNION ALL
    SELECT 'pg_publication'::regclass, oid, pubowner FROM pg_publication
    WHERE NOT puballtables AND NOT EXISTS (SELECT FROM pg_publication_namespace WHERE pnpubid = pg_publication.oid)
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, nspowner FROM pg_namespace
    UNION ALL
    SELECT 'pg_largeobject'::regclass, oid, lomowner FROM pg_largeobject_metadata
    UNION ALL
    SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_operator
    UNION ALL
    SELECT 'pg_opclass'::regclass, oid, opcowner FROM pg_opclass
    UNION ALL
    SELECT 'pg_opfamily'::regclass, oid, opfowner FROM pg_opfamily
    UNION ALL
    SELECT 'pg_collation'::regclass, oid, collowner FROM pg_collation
    UNION ALL
    SELECT 'pg_conversion'::regclass, oid, conowner FROM pg_conversion
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, oid, stxowner FROM pg_statistic_ext
    UNION ALL
    SELECT 'pg_ts_config'::regclass, oid, cfgowner FROM pg_ts_config
    UNION ALL
    SELECT 'pg_ts_dict'::regclass, oid, dictowner FROM pg_ts_dict
    UNION ALL
    SELECT 'pg_language'::regclass, oid, lanowner FROM pg_language
    UNION ALL
    SELECT 'pg_foreign_server'::regclass, oid, srvowner FROM pg_foreign_server
) AS everything, pg_identify_object(classid, objid, 0) AS identified
WHERE (objid >= 16384 OR identified.type = 'large object' OR identified.type = 'schema' AND identified.name = 'public')
    AND coalesce(identified.schema, identified.name, '') !~ '^pg_(temp|toast)'
    AND NOT EXISTS (
        SELECT FROM pg_depend AS part WHERE part.classid = everything.classid AND part.objid = everything.objid AND deptype = 'e'
    );

-- Gives the role what the first one owns.
CREATE FUNCTION pg_temp.give() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new_owner regrole := quote_ident(current_setting('hand_over.role'))::regrole;
    found record;
BEGIN
    FOR found IN
        SELECT format(
            'ALTER %s %s OWNER TO %s',
            CASE WHEN type IN ('function', 'procedure', 'aggregate') THEN 'ROUTINE'
                WHEN type = 'statistics object' THEN 'STATISTICS' ELSE upper(type) END,
            identity, new_owner
        ) AS statement
        FROM owners WHERE owner = 10
        UNION ALL
        SELECT format('ALTER DATABASE %I OWNER TO %s', datname, new_owner)
        FROM pg_database WHERE datdba = 10 AND oid >= 16384
    LOOP
        EXECUTE found.statement;
    END LOOP;
    -- Of a column's sequence the table's owner is said, so nothing of the first role's is left by now.
    IF EXISTS (SELECT FROM owners WHERE owner = 10) THEN
        RAISE EXCEPTION 'still the first role''s: %', (SELECT string_agg(identity, ', ') FROM owners WHERE owner = 10);
    END IF;
END
$$;

\if :is_first
-- Before there is such a role. The file is replaced as a whole, and the server keeps the old rules where it cannot read it.
SELECT format('COPY (SELECT WHERE false) TO PROGRAM %L', format(
    'grep -q "^host all,replication postgres all reject" %1$s || '
    '{ umask 077; { echo "host all,replication postgres all reject"; cat %1$s; } >%1$s.new && sync %1$s.new && mv %1$s.new %1$s; }',
    '''' || current_setting('hba_file') || ''''
))
\gexec
SELECT pg_reload_conf() \g /dev/null

BEGIN;
DO $$
DECLARE
    app name := current_setting('hand_over.role');
    obstacles text;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_hba_file_rules
        WHERE rule_number = 1 AND type = 'host' AND user_name = '{postgres}' AND address = 'all' AND auth_method = 'reject'
    ) THEN
        RAISE EXCEPTION 'the role postgres is not rejected over TCP by the first rule of %', current_setting('hba_file');
    END IF;
    SELECT string_agg(obstacle, '; ') INTO obstacles
    FROM (
        SELECT format('objects belong to %s: REASSIGN OWNED BY %1$s TO %I', owner::regrole, app)
        FROM owners WHERE owner NOT IN (10, 'pg_database_owner'::regrole) GROUP BY owner
        UNION ALL
        SELECT format('policy %s of %s names the role: ALTER POLICY or drop it', polname, polrelid::regclass)
        FROM pg_policy WHERE 10::oid = ANY (polroles)
        UNION ALL
        SELECT 'default privileges name the role: take them back, and grant them again afterwards'
        WHERE EXISTS (
            SELECT FROM pg_default_acl LEFT JOIN LATERAL aclexplode(defaclacl) AS item ON true
            WHERE defaclrole = 10 OR 10::oid IN (grantee, grantor)
        )
        UNION ALL
        SELECT 'there are user mappings, whose options only a superuser can back up' WHERE EXISTS (SELECT FROM pg_user_mapping)
        UNION ALL
        SELECT format('subscription %s, which only a superuser can back up', subname) FROM pg_subscription
        JOIN pg_database ON pg_database.oid = subdbid WHERE datname = current_database()
        UNION ALL
        SELECT format('%s granted %s to %s: REVOKE that', grantor::regrole, roleid::regrole, member::regrole)
        FROM pg_auth_members WHERE 10::oid IN (roleid, member) AND grantor <> 10
    ) AS found (obstacle);
    IF obstacles IS NOT NULL THEN
        RAISE EXCEPTION '%', obstacles;
    END IF;
    -- One that a restore has made, of a backup of a server where this was done.
    DROP ROLE IF EXISTS postgres;
    -- Of an MD5 hash the name is a part, so that renaming the role takes it away.
    CREATE TEMPORARY TABLE taken_over ON COMMIT DROP AS
    SELECT rolpassword, rolvaliduntil, rolconnlimit FROM pg_authid WHERE oid = 10;
    -- Nobody renames itself.
    EXECUTE format('CREATE ROLE %I SUPERUSER', app || '_hand_over');
    EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', app || '_hand_over');
END
$$;
DO $$
DECLARE
    app name := current_setting('hand_over.role');
    new_owner oid;
    found record;
BEGIN
    EXECUTE format('ALTER ROLE %I RENAME TO postgres', app);
    -- BYPASSRLS, as it had as a superuser: what its backups read has to be whole. CREATEROLE for the exporter's role.
    EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER BYPASSRLS CREATEROLE', app);
    new_owner := quote_ident(app)::regrole;
    -- Not by a statement that holds the hash, which an error would show.
    UPDATE pg_authid SET (rolpassword, rolvaliduntil, rolconnlimit) = (
        SELECT rolpassword, rolvaliduntil, rolconnlimit FROM taken_over
    ) WHERE oid = new_owner;
    UPDATE pg_authid SET rolpassword = NULL, rolvaliduntil = NULL, rolconnlimit = -1 WHERE oid = 10;
    UPDATE pg_db_role_setting SET setrole = new_owner WHERE setrole = 10;
    UPDATE pg_shdescription SET objoid = new_owner WHERE classoid = 'pg_authid'::regclass AND objoid = 10;
    FOR found IN
        SELECT format(
            'REVOKE %s FROM %s; GRANT %s TO %s WITH ADMIN %s, INHERIT %s, SET %s',
            roleid::regrole, member::regrole,
            CASE roleid WHEN 10 THEN quote_ident(app) ELSE roleid::regrole::text END,
            CASE member WHEN 10 THEN quote_ident(app) ELSE member::regrole::text END,
            admin_option::text, inherit_option::text, set_option::text
        ) AS statements
        FROM pg_auth_members WHERE 10::oid IN (roleid, member)
    LOOP
        EXECUTE found.statements;
    END LOOP;
    -- What its backups, and the exporter's pod before it starts, do beside what an owner may.
    EXECUTE format('GRANT pg_read_all_data TO %I', app);
    EXECUTE format('GRANT pg_monitor TO %I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', app);
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('hand_over.monitor') AND NOT rolsuper) THEN
        EXECUTE format('GRANT %I TO %I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', current_setting('hand_over.monitor'), app);
    END IF;
    PERFORM pg_temp.give();
END
$$;
SET LOCAL SESSION AUTHORIZATION DEFAULT;
DO $$ BEGIN EXECUTE format('DROP ROLE %I', current_setting('hand_over.role') || '_hand_over'); END $$;
-- What its backups set (`sessions` of common.sh, and snapshot.sql). set-role-password.sh takes this line for its own: a
-- parameter that a later release adds is granted at the next start of a server whose role was handed over before. Below it is
-- written again, because here it belongs to the transaction.
GRANT SET ON PARAMETER log_statement, log_min_duration_statement, log_min_error_statement, lc_messages, event_triggers, session_replication_role, temp_file_limit, lo_compat_privileges TO :"role";
COMMIT;
\else
DO $$ BEGIN EXECUTE format('ALTER ROLE %I NOSUPERUSER', current_setting('hand_over.role')); END $$;
GRANT SET ON PARAMETER log_statement, log_min_duration_statement, log_min_error_statement, lc_messages, event_triggers, session_replication_role, temp_file_limit, lo_compat_privileges TO :"role";
\endif

-- Sessions from before are the first role's, and what they make is. They connect again, with the same password.
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usesysid = 10 AND client_addr IS NOT NULL \g /dev/null
BEGIN;
SELECT pg_temp.give() \g /dev/null
COMMIT;
