# shellcheck shell=sh disable=SC2034,SC2154
# What restore.sh and drill.sh share: a database that is filled from a dump beside the one to be replaced, proved, and put in
# its place. A script that includes this sets
#
#     database incoming replaced    names: of the database, of the one that is filled, of the old one after the swap
#     dump                          the file
#     MANIFEST                      the manifest that describes this very dump; empty for a dump made elsewhere
#     scratch                       a folder to write in
#     into                          not empty: a database to look into, which replaces nothing
#
# A backup of this program comes back whole: owners, privileges, row security, the database's own properties and the roles
# that it needs. A dump made elsewhere names roles of elsewhere: everything in it gets to belong to OWNER, which
# is the user itself where nothing else is said; so in a database to look into, for which no role is made or changed.

flags=
into=
owner=${OWNER:-$PGUSER}

maintenance() { PGDATABASE=postgres sql "$@"; }

drop() { maintenance --set=name="$1" --file="$scripts/drop.sql"; }

# is_own: the dump is a backup of this program.
is_own() { [ -n "$MANIFEST" ]; }

# comes_whole: with everything that the manifest describes beside the rows.
comes_whole() { is_own && [ -z "$into" ]; }

# make_roles: those that the dump needs and the server does not have. They log in only once they have a password.
make_roles() {
  : >"$scratch/made-roles"
  if comes_whole && grep -q '^  "globals": ' "$MANIFEST"; then
    maintenance --set=database="$database" --set=owner="$owner" --file="$scripts/make-roles.sql" >"$scratch/made-roles" ||
      fail "the roles of the backup cannot be made${place:+; $place}"
    [ ! -s "$scratch/made-roles" ] || say "roles made: $(cat "$scratch/made-roles")"
  else
    make_named_roles
  fi
}

# For dumps without a list of roles: from what a trial without rows says is missing.
make_named_roles() {
  [ -z "$into" ] || return 0
  is_own || grep -Eq ' (POLICY|USER MAPPING) ' "$scratch/contents" || return 0
  while :; do
    create
    # shellcheck disable=SC2086 # the flags are several arguments
    pg_restore --dbname="$incoming" --schema-only --no-password --use-list="$scratch/contents" $flags "$dump" \
      >/dev/null 2>"$scratch/errors" || true
    drop "$incoming" || fail "the trial cannot be removed${place:+; $place}"
    missing=$(sed -n 's/^pg_restore: error: .*ERROR:  role "\(.*\)" does not exist$/\1/p' "$scratch/errors" | sort -u)
    [ -n "$missing" ] || return 0
    printf '%s\n' "$missing" >"$scratch/missing"
    while read -r role; do
      printf "CREATE ROLE :\"role\"; SELECT jsonb_build_array(:'role'::text);" |
        maintenance --set=role="$role" >>"$scratch/made-roles" ||
        fail "the role $role of the dump cannot be made${place:+; $place}"
      say "role made, which the dump names but does not describe: $role (it may not log in)"
    done <"$scratch/missing"
  done
}

# remove_made_roles: for an attempt that replaces nothing.
remove_made_roles() {
  [ ! -s "$scratch/made-roles" ] || maintenance --file="$scripts/remove-roles.sql" <"$scratch/made-roles"
}

# create: the empty database.
create() {
  described=
  if comes_whole; then described=$MANIFEST; fi
  lost=$(MANIFEST=$described maintenance --set=name="$incoming" --set=like="$database" --file="$scripts/create.sql") ||
    fail "the database $incoming cannot be made${place:+; $place}"
}

# read_contents: of the dump, of which nothing else has been read yet.
read_contents() {
  pg_restore --list "$dump" >"$scratch/contents" ||
    fail "the file is no dump in pg_dump's custom format, or one of a newer version than $(pg_restore --version)"
  if ! is_own; then
    if grep -q '^[0-9]*; 1259 [0-9]* TABLE ' "$scratch/contents"; then
      grep -q ' TABLE DATA ' "$scratch/contents" ||
        fail "the dump has tables and none of their rows, as pg_dump --schema-only writes it"
    elif grep -q ' TABLE DATA ' "$scratch/contents"; then
      fail "the dump has rows and none of their tables, as pg_dump --data-only writes it"
    fi
    return 0
  fi
  case $(manifest_value "$MANIFEST" format) in
  1 | 2) ;;
  *) fail "$MANIFEST was written by a newer version of this program: restore with that one" ;;
  esac
}

# What names roles, hides rows, runs by itself or speaks to other servers: not for a database to look into. Nor are comments,
# since some are on these.
left_out='POLICY|ROW SECURITY|USER MAPPING|EVENT TRIGGER|PUBLICATION|PUBLICATION TABLE|PUBLICATION TABLES IN SCHEMA|SUBSCRIPTION'

# prepare: everything up to the filling.
prepare() {
  if [ -n "$into" ]; then
    say "everything in the dump gets to belong to $owner, without its privileges, roles, policies and comments"
    flags="--no-owner --no-privileges --no-tablespaces --no-security-labels --no-comments"
    sed -i -E "s/^([0-9]+; [0-9]+ [0-9]+ ($left_out|SCHEMA - public) )/;\\1/" "$scratch/contents"
  elif is_own; then
    say "the dump is a backup of this program: it comes back with its owners, privileges and roles"
  else
    say "the dump was made elsewhere: everything in it gets to belong to $owner, without its privileges"
    flags="--no-owner --no-privileges --no-tablespaces --no-security-labels"
    # It holds this schema where it was told to dump it by name; every database has one.
    sed -i 's/^\([0-9]*; 2615 [0-9]* SCHEMA - public \)/;\1/' "$scratch/contents"
  fi
  make_roles
  create
  if comes_whole && grep -q '^  "about": .*"publicSchema": false' "$MANIFEST"; then
    printf 'DROP SCHEMA public' | PGDATABASE="$incoming" sql || fail "the schema public cannot be left out${place:+; $place}"
  fi
  if [ -n "$lost" ]; then
    say "this server has no tablespace $lost: everything comes into the default one"
    flags="$flags --no-tablespaces"
  fi
}

# fill: in one transaction, at whose end the rows are counted. What pg_restore says beside its own lines are statements and
# rows: they hold passwords and people's data.
fill() {
  generator=$(sed '/^\\gexec$/d' "$scripts/inventory.sql")
  PGDATABASE="$incoming" sql --set=generator="$generator" --file="$scripts/counting.sql" || return
  if comes_whole && grep -Eq '^[0-9]+; [0-9]+ [0-9]+ (EVENT TRIGGER|FOREIGN DATA WRAPPER|PUBLICATION) ' "$scratch/contents"; then
    PGDATABASE="$incoming" sql --set=owner="$owner" --file="$scripts/lend.sql" || return
  fi
  : >"$scratch/views"
  : >"$scratch/keys"
  filled=0 settings=
  pour || filled=$?
  if [ "$filled" != 0 ] && says 'ERROR: .* does not exist'; then
    say "once more, with the database's own search path: a function of the dump names something without its schema"
    filled=0 settings='-c restore.search_path=own'
    pour || filled=$?
  fi
  if [ "$filled" != 0 ] && is_own && says 'ERROR: .* violates foreign key constraint'; then
    say "once more, with the foreign keys at the end: rows refer to others that are not there"
    put_off_keys
    filled=0
    pour || filled=$?
  fi
  if [ "$filled" != 0 ] && says '^Command was: REFRESH MATERIALIZED VIEW '; then
    say "once more, with the materialized views at the end: the query of one fails"
    put_off_views
    filled=0
    pour || filled=$?
  fi
  if [ "$filled" != 0 ] && lacks_locks; then
    say "once more, in many transactions: the server has too few locks for so many tables in one"
    filled=0
    pour_in_parts || filled=$?
  elif [ "$filled" != 0 ] && violates_checks; then
    say "once more, with the CHECK constraints at the end: one refers to other rows, or to what has changed since"
    filled=0
    pour_in_parts || filled=$?
  fi
  if [ "$filled" = 0 ]; then make_keys || filled=$?; fi
  if [ "$filled" = 0 ]; then fill_views || filled=$?; fi
  sed -n '/^pg_restore:/p; /^HINT:/p' "$scratch/errors" >&2
  return "$filled"
}

says() { grep -Eq "$1" "$scratch/errors"; }

# lacks_locks: whether it failed for that. One transaction holds a lock for each table, index and sequence that it makes.
lacks_locks() { says 'ERROR: .*out of shared memory'; }

# violates_checks: whether it failed for that, or in what may be a constraint's condition: a function, or a missing setting.
violates_checks() {
  says 'ERROR: .*(violates check constraint|unrecognized configuration parameter)' ||
    says '^(CONTEXT: +)?(SQL|PL/pgSQL) function '
}

# pour: what fails leaves nothing behind.
pour() {
  # shellcheck disable=SC2086 # the flags are several arguments
  PGOPTIONS="$(sessions on) $settings" pg_restore --dbname="$incoming" --single-transaction --no-password \
    --use-list="$scratch/contents" $flags "$dump" 2>"$scratch/errors"
}

# pour_some LIST OPTION...: no event trigger runs, ours included, which would count too early.
pour_some() {
  list=$1
  shift
  # shellcheck disable=SC2086 # the flags are several arguments
  PGOPTIONS=$(sessions off) pg_restore --dbname="$incoming" --no-password --use-list="$list" "$@" $flags "$dump" \
    2>"$scratch/errors"
}

# pour_in_parts: what fails leaves a part behind, in a database that is dropped then.
pour_in_parts() {
  put_off_views
  put_off_keys
  pour_some "$scratch/contents" --transaction-size=100 --section=pre-data || return
  PGDATABASE="$incoming" sql --file="$scripts/put-off-checks.sql" || return
  pour_some "$scratch/contents" --transaction-size=100 --section=data --section=post-data || return
  invalid=$(PGDATABASE="$incoming" sql --file="$scripts/put-back-checks.sql") || return
  [ -z "$invalid" ] || say "these CHECK constraints stay NOT VALID, because the restored rows do not pass them: $invalid"
}

# put_off_views: the filling of the materialized views, to the end.
put_off_views() {
  entries='^[0-9]+; [0-9]+ [0-9]+ MATERIALIZED VIEW DATA '
  grep -E "$entries" "$scratch/contents" >>"$scratch/views" || true
  sed -i -E "s/$entries/;&/" "$scratch/contents"
}

# fill_views: those that were put off. Their rows are those of tables, and hold up nothing.
fill_views() {
  [ -s "$scratch/views" ] || return 0
  unfilled=0
  pour_some "$scratch/views" || unfilled=$?
  [ "$unfilled" != 0 ] || return 0
  views=$(sed -n 's/^Command was: REFRESH MATERIALIZED VIEW \(.*\);$/\1/p' "$scratch/errors" | tr '\n' ' ')
  [ -n "$views" ] || return "$unfilled"
  say "these materialized views stay empty until a REFRESH, because their queries fail: $views"
}

# put_off_keys: the foreign keys, and the comments on them, which follow each, to the end.
put_off_keys() {
  awk -v keys="$scratch/keys" '
    /^[0-9]/ { is_key = /^[0-9]+; [0-9]+ [0-9]+ FK CONSTRAINT / || is_key && /^[0-9]+; [0-9]+ [0-9]+ COMMENT / }
    /^[0-9]/ && is_key { print >>keys; $0 = ";" $0 }
    { print }
  ' "$scratch/contents" >"$scratch/others"
  mv "$scratch/others" "$scratch/contents"
}

# make_keys: the foreign keys that were put off. Rows that came while triggers were disabled may break them. Such keys stay NOT
# VALID and apply to new rows; of a partitioned table, PostgreSQL takes that since 18. From a dump made elsewhere somebody may
# have left out the rows that are referred to.
make_keys() {
  [ -s "$scratch/keys" ] || return 0
  unmade=0
  pour_some "$scratch/keys" --verbose || unmade=$? # so that it says which entries fail
  failed=$(sed -n 's/^pg_restore: from TOC entry \([0-9]*\);.*/\1/p' "$scratch/errors")
  sed -i '/^pg_restore: error: /!d' "$scratch/errors"
  [ "$unmade" != 0 ] || return 0
  is_own || return "$unmade"
  # With a key, the comment on it fails.
  if [ -z "$failed" ] || grep -Eqv 'ERROR:  (.* violates foreign key constraint|constraint .* does not exist)' "$scratch/errors"; then
    return "$unmade"
  fi
  printf '%s\n' "$failed" | sed 's/.*/^&;/' >"$scratch/entries"
  grep -f "$scratch/entries" "$scratch/keys" >"$scratch/broken" || return
  # shellcheck disable=SC2086 # the flags are several arguments
  pg_restore --use-list="$scratch/broken" --file="$scratch/keys.sql" $flags "$dump" || return
  sed -i 's/^\(    ADD CONSTRAINT .*\);$/\1 NOT VALID;/' "$scratch/keys.sql" || return
  PGDATABASE="$incoming" sql --file="$scratch/keys.sql" >/dev/null || return "$unmade"
  keys=$(sed -E -n '/^ALTER TABLE /{ N; s/^ALTER TABLE (ONLY )?(.*)\n    ADD CONSTRAINT (.*) FOREIGN KEY .*/\3 of \2/p; }' \
    "$scratch/keys.sql" | tr '\n' ',' | sed 's/,$//; s/,/, /g')
  say "these foreign keys stay NOT VALID, because restored rows refer to rows that are not there: $keys"
}

# prove: sets `found` to the inventory; fails where that is not the manifest's.
prove() {
  found=$(PGDATABASE="$incoming" sql --file="$scripts/counted.sql") ||
    fail "the restored rows could not be counted${place:+; $place}"
  ! is_own || compare "$(sed -n 's/^  "inventory": //p' "$MANIFEST")" "$found"
  comes_whole || PGDATABASE="$incoming" sql --set=owner="$owner" --file="$scripts/give.sql" ||
    fail "the restored data cannot be given to $owner${place:+; $place}"
}

# compare EXPECTED FOUND: fails with every table whose rows differ; both are inventories, see compare.sql.
compare() {
  differences=$(printf '[%s,%s]' "$1" "$2" | maintenance --file="$scripts/compare.sql") ||
    fail "the restored rows cannot be compared${place:+; $place}"
  [ -z "$differences" ] || fail "what was restored is not what is expected:
$differences"
}

# patiently COMMAND...: until it succeeds. 300 s is many times the recovery of a server that has crashed.
patiently() {
  for _ in $(seq 100); do
    if "$@" 2>/dev/null; then return 0; fi
    sleep 3
  done
  return 1
}

# A client may connect between being thrown out and the renaming, which then gives up: try again. But a server that goes
# down right after the renaming does not answer either. Until that is known, what was saved is the only copy.
swap() {
  swapping=yes
  was=$place
  place="which data is in place is not known: the restored data where the server has a database $replaced, else the old data"
  for _ in 1 2 3 4 5; do
    if changed=$(rename 2>"$scratch/errors"); then
      cat "$scratch/errors" >&2
      return 0
    fi
    cat "$scratch/errors" >&2
    patiently has_swapped || {
      trap - EXIT
      fail "the server does not say which data is in place: the restored data where it has a database $replaced (which" \
        "then holds the old data), else the old data"
    }
    [ "$swapped" = f ] || return 0
    sleep 1
  done
  swapping=no
  said=$(sed -n 's/^psql:.*ERROR:  //p; s/^DETAIL:  //p' "$scratch/errors" | head -n 2 | tr '\n' ' ')
  fail "the databases cannot change places${was:+; $was}: $said"
}
rename() {
  maintenance --set=database="$database" --set=owner="$owner" --set=incoming="$incoming" --set=replaced="$replaced" \
    --file="$scripts/swap.sql"
}
has_swapped() {
  swapped=$(maintenance --set=incoming="$incoming" --set=replaced="$replaced" --file="$scripts/swapped.sql")
}
