# shellcheck shell=sh disable=SC2154
# Makes the view pg_stat_statements, which postgres_exporter reads. Runs in the shell of set-role-password.sh, after it, as the
# superuser: the app's role may not.
#
# In the database postgres, whose view counts the statements of every database: no dump of the app's takes it along, which
# only a superuser could restore, and only into a server that has the library.
sql "$first" "$usual -c client_min_messages=warning" --dbname=postgres --set=ON_ERROR_STOP=1 \
  --command='CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public' ||
  printf 'set-role-password: statements are not counted\n' >&2
