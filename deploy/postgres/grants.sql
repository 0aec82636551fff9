-- What the coordinator's user needs in PostgreSQL 15 or later; no superuser. Run it once, on the primary, in the database that
-- `instance.engine.database` names (`postgres` if left out), as a superuser; then give the role its password with \password baton.
--
-- pg_hba.conf has to admit it, for the guard's own connection and for replicas:
--     host  postgres     baton  127.0.0.1/32  scram-sha-256
--     host  postgres     baton  10.0.0.0/24   scram-sha-256
--     host  replication  baton  10.0.0.0/24   scram-sha-256

CREATE ROLE baton LOGIN REPLICATION;

-- How replication stands, and how the server ended last.
GRANT pg_monitor TO baton;

-- A standby becomes the primary; a changed setting counts.
GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer), pg_reload_conf() TO baton;

-- Whom a standby follows and by which slot, and for how many standbys a commit waits. (Before version 15 only a superuser can.)
GRANT ALTER SYSTEM ON PARAMETER primary_conninfo, primary_slot_name, synchronous_standby_names TO baton;

-- The mark: which data set this is, and at which term it was written last.
CREATE SCHEMA baton AUTHORIZATION baton;

-- An old master that comes home: what it holds beyond the new one is found and taken back (pg_rewind), which needs the new one's
-- control file up to date (before version 15 only a superuser can order that).
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean) TO baton;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO baton;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO baton;
GRANT pg_checkpoint TO baton;
