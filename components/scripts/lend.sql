-- For a dump with what only a superuser may own: makes each owner that has to be one a superuser, from the first statement of
-- pg_restore that defines something to the end of its one transaction. A role that the backup calls a superuser, and is none
-- here, becomes one when the databases change names (roles.sql), if at all. The app's role was one when the backup was taken,
-- and stays none: what only a superuser may own goes from it to the server's first role, as in give.sql.
--
--     owner       the app's role
--     MANIFEST    in the environment: path of the manifest
\ir wanted.sql
CREATE UNLOGGED TABLE restore_counting.lent AS
SELECT rolname AS name, rolname = :'owner' AS is_app FROM pg_roles
WHERE NOT rolsuper AND (rolname = :'owner' OR rolname IN (
    SELECT role ->> 'name' FROM jsonb_array_elements(:'wanted'::jsonb -> 'roles') AS role WHERE role ->> 'superuser' = 'true'
));

CREATE FUNCTION restore_counting.lend() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    role name;
BEGIN
    FOR role IN UPDATE restore_counting.lent SET name = name RETURNING name LOOP
        EXECUTE format('ALTER ROLE %I SUPERUSER', role);
    END LOOP;
END
$$;
CREATE FUNCTION restore_counting.take_back() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER %s OWNER TO %I', identity, pg_get_userbyid(10))
        FROM (
            SELECT format('EVENT TRIGGER %I', evtname), evtowner FROM pg_event_trigger
            UNION ALL
            SELECT format('FOREIGN DATA WRAPPER %I', fdwname), fdwowner FROM pg_foreign_data_wrapper
            UNION ALL
            SELECT format('PUBLICATION %I', pubname), pubowner FROM pg_publication
            WHERE puballtables OR EXISTS (SELECT FROM pg_publication_namespace WHERE pnpubid = pg_publication.oid)
            UNION ALL
            SELECT format('FUNCTION %s', oid::regprocedure), proowner FROM pg_proc
            WHERE prorettype = 'event_trigger'::regtype
        ) AS superusers (identity, owner)
        WHERE NEW.is_app AND pg_get_userbyid(owner) = NEW.name
        UNION ALL
        SELECT format('ALTER ROLE %I NOSUPERUSER', NEW.name)
    LOOP
        EXECUTE statement;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER take_back AFTER UPDATE ON restore_counting.lent DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION restore_counting.take_back();
-- In the same transaction that of counting.sql lets no event trigger run a second time.
CREATE EVENT TRIGGER restore_lending ON ddl_command_end EXECUTE FUNCTION restore_counting.lend();
