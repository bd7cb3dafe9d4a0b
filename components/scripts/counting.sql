-- Prepares a database that pg_restore is about to fill in one transaction: right before that commits, its rows are counted,
-- as inventory.sql does it. Whoever reads them first after it must write and log each page once more (hint bits, under
-- checksums), which takes a quarter of the time.
--
--     generator    the query of inventory.sql, which writes the one that counts
CREATE SCHEMA restore_counting;
CREATE VIEW restore_counting.generator (query) AS :generator;
-- Unlogged, so that a publication of all tables, which the dump may bring, is not about it.
CREATE UNLOGGED TABLE restore_counting.inventory (found text);

CREATE FUNCTION restore_counting.count() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    query text;
    found text;
BEGIN
    SELECT generator.query INTO STRICT query FROM restore_counting.generator;
    EXECUTE query INTO STRICT found;
    RETURN found;
END
$$;

-- The first statement of pg_restore that defines something puts the count off to the end of its transaction. From then on no
-- event trigger runs in it: those of the dump are made before its last statements, and must neither forbid nor log them.
-- pg_restore has emptied the search path. Functions of the dump that name tables or functions without their schema do not
-- find them then, when a row is checked or computed; `restore.search_path` in PGOPTIONS gives them the database's own.
CREATE FUNCTION restore_counting.begin() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('event_triggers', 'off', true);
    IF current_setting('restore.search_path', true) = 'own' THEN
        PERFORM set_config('search_path', reset_val, true) FROM pg_settings WHERE name = 'search_path';
    END IF;
    INSERT INTO restore_counting.inventory SELECT WHERE NOT EXISTS (SELECT FROM restore_counting.inventory);
END
$$;
CREATE FUNCTION restore_counting.finish() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE restore_counting.inventory SET found = restore_counting.count();
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER finish AFTER INSERT ON restore_counting.inventory DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION restore_counting.finish();
CREATE EVENT TRIGGER restore_counting ON ddl_command_end EXECUTE FUNCTION restore_counting.begin();
