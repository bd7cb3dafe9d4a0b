-- An object of every kind that has an owner, owned by the app's role; and what names that role.
CREATE TYPE mood AS ENUM ('good'); CREATE TYPE pair AS (a int, b int); CREATE TYPE span AS RANGE (subtype = float8);
CREATE DOMAIN amount AS numeric; CREATE PROCEDURE p(INOUT x int) LANGUAGE sql AS 'SELECT 1'; CREATE SCHEMA "Odd, one";
CREATE FUNCTION f(a int DEFAULT 1, VARIADIC b text[] DEFAULT '{}') RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE total(*) (sfunc = int8inc, stype = int8, initcond = '0');
CREATE FUNCTION same(mood, mood) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR === (leftarg = mood, rightarg = mood, procedure = same);
CREATE OPERATOR CLASS moods FOR TYPE mood USING hash AS OPERATOR 1 ===;
CREATE COLLATION plain (provider = builtin, locale = 'C.UTF-8'); CREATE TEXT SEARCH DICTIONARY d (template = simple);
CREATE TEXT SEARCH CONFIGURATION c (copy = simple); CREATE STATISTICS notes ON note, number FROM invoices;
SELECT lo_from_bytea(4711, 'scan'); CREATE PUBLICATION parts FOR TABLE products; CREATE PUBLICATION everything FOR ALL TABLES;
CREATE EXTENSION hstore; CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM invoices; CREATE VIEW v AS SELECT 1 AS x;
CREATE TABLE parted (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parted FOR VALUES IN (1);
CREATE SEQUENCE free; CREATE TABLE identities (id int GENERATED ALWAYS AS IDENTITY, more hstore); CREATE TABLE "Odd, one"."T 1" (x int);
CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noted ON sql_drop EXECUTE FUNCTION noted(); CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w;
CREATE ROLE guard; GRANT invoicetron TO guard; CREATE ROLE clerks; GRANT clerks TO invoicetron;
ALTER ROLE invoicetron SET work_mem = '7MB'; COMMENT ON ROLE invoicetron IS 'the app'; GRANT SELECT ON invoices TO clerks;
ALTER TABLE invoices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY few ON invoices TO clerks USING (id < 3);
