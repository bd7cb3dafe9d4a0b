-- Prepares a database that pg_restore is about to fill in one transaction: right before that commits, its rows are counted,
-- as inventory.sql does it. Whoever reads them first after it must write and log each page once more (hint bits, under
-- checksums), which takes a quarter of the time.
--
--     generator    the query of inventory.sql, which writes the one that counts
CREATE SCHEMA restore_counting;
CREATE VIEW restore_counting.generator (query) AS :generator;
CREATE TABLE restore_counting.inventory (found text);

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
CREATE FUNCTION restore_counting.begin() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('event_triggers', 'off', true);
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
