-- What counting.sql has counted; nothing of that is left behind. A dump that defines nothing has not been counted yet.
SELECT coalesce((SELECT found FROM restore_counting.inventory), restore_counting.count());
DROP SCHEMA restore_counting CASCADE;
