-- Removes the roles that an attempt has made which replaces nothing.
--
--     standard input    their names: a JSON array on each line
\set made `cat`
SELECT 'DROP ROLE IF EXISTS ' || string_agg(quote_ident(name), ', ')
FROM string_to_table(:'made', E'\n') AS line, jsonb_array_elements_text(nullif(line, '')::jsonb) AS name
\gexec
