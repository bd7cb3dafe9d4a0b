# shellcheck shell=sh disable=SC2154
# Has pg_hba.conf include a file of rules, which need not be there. Runs in the shell of set-role-password.sh, after it.
#
#     $3    path of the file of rules
#
# The line stays where the file goes: without it, it says nothing. It comes before the image's rules, which let everybody in
# who knows the password, and after the rule of hand-over.sql, which has to be the first.

# file_with_rules FILE: the rules of FILE, with ours among them.
file_with_rules() {
  awk -v line="include_if_exists $rules" '
    NR == 1 && /^host all,replication postgres all reject/ { print; print line; next }
    NR == 1 { print line }
    { print }
  ' "$1"
}

refuse() {
  printf 'set-role-password: %s; connections without TLS may be let in\n' "$1" >&2
  exit 1
}

rules=$3
hba=$(sql "$first" "$usual" --dbname=postgres --command='SHOW hba_file') || refuse "the server does not say where its rules are"
if ! grep -qxF "include_if_exists $rules" "$hba"; then
  umask 077
  # Replaced as a whole: the server keeps the rules of before where it cannot read them.
  { file_with_rules "$hba" >"$hba.new" && sync "$hba.new" && mv "$hba.new" "$hba"; } || refuse "$hba cannot be written"
fi
wrong=$(
  printf '%s\n' 'SELECT pg_reload_conf() \g /dev/null' 'SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL' |
    sql "$first" "$usual" --dbname=postgres --set=ON_ERROR_STOP=1
) || refuse "the server does not say whether it takes the rules of $hba"
[ -z "$wrong" ] || refuse "$hba has an error: $wrong"
