-- Free KiB on the database server's data volume. The role is a superuser, and a server starts in its data directory.
CREATE TEMPORARY TABLE space (kib bigint);
COPY space FROM PROGRAM 'df -Pk . | awk ''NR == 2 { print $4 }''';
SELECT kib FROM space;
