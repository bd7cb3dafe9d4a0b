-- Gives what was restored from elsewhere to the app's role. What only a superuser may own goes to the server's first role,
-- and so do the functions of event triggers, which run as whoever meets them: as in hand-over.sql.
--
--     owner    the app's role
SELECT format('ALTER %s OWNER TO %I', identity, pg_get_userbyid(10))
FROM (
    SELECT format('EVENT TRIGGER %I', evtname), evtowner FROM pg_event_trigger
    UNION ALL
    SELECT format('FOREIGN DATA WRAPPER %I', fdwname), fdwowner FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT format('FUNCTION %s', oid::regprocedure), proowner FROM pg_proc
    WHERE prorettype = 'event_trigger'::regtype AND oid >= 16384
) AS found (identity, owner)
WHERE owner <> 10
UNION ALL
SELECT format('REASSIGN OWNED BY CURRENT_USER TO %I', :'owner') WHERE current_user <> :'owner'
\gexec
