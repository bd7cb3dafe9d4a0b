-- Sets `wanted`: what globals.sql has written into the manifest of a backup; empty for a dump that has none.
--
--     MANIFEST    in the environment: path of the manifest, if any
\set manifest `cat "${MANIFEST:-/dev/null}"`
SELECT coalesce(nullif(:'manifest', '')::jsonb -> 'globals', '{}') AS wanted \gset
\unset manifest
