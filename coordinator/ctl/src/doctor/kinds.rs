//! What the checks of an engine have to know of each kind: names, versions, and what to advise.

use baton_coordinator::config::EngineKind;

/// One kind.
#[derive(Debug)]
pub(super) struct Known {
    /// Names of the programs that are it or its like.
    pub(super) servers: &'static [&'static str],
    /// Words by which a unit starts one.
    pub(super) unit_words: &'static [&'static str],
    /// How people call it.
    pub(super) called: &'static str,
    /// The oldest version that is driven.
    pub(super) minimum: (u32, u32),
    /// The same as people write it.
    pub(super) minimum_text: &'static str,
    /// How the versions begin that the tests run with.
    pub(super) tested: &'static str,
    /// The same as people write it.
    pub(super) tested_text: &'static str,
    /// What to do where a guard may not do what it has to.
    pub(super) grants: &'static str,
    /// What to do where another manager is there.
    pub(super) other_manager: &'static str,
    /// What the password of `password_file` is compared with.
    pub(super) password: &'static str,
}

const REDIS: Known = Known {
    servers: &["redis-server", "valkey-server", "keydb-server"],
    unit_words: &["redis", "valkey"],
    called: "Redis",
    minimum: (6, 2),
    minimum_text: "6.2",
    tested: "7.0.",
    tested_text: "Redis 7.0",
    grants: "allow the default user INFO, GET, SET, EVAL, REPLICAOF and CONFIG SET",
    other_manager: "let only one choose the masters: SENTINEL REMOVE on every Sentinel, or no instance of Baton",
    password: "compare password_file with the engine's requirepass: no guard could fence it",
};

const POSTGRES: Known = Known {
    servers: &["postgres", "postmaster"],
    unit_words: &["postgres", "pg_ctlcluster"],
    called: "PostgreSQL",
    minimum: (13, 0),
    minimum_text: "13",
    tested: "15.",
    tested_text: "PostgreSQL 15",
    grants: "give the user of instance.engine.user what deploy/postgres/grants.sql gives, and let pg_hba.conf admit it",
    other_manager: "let only one choose the masters: stop the other one, or have no instance of Baton here",
    password: "compare password_file with the role's password: no guard could fence it",
};

/// What is known of the engine of a configuration.
pub(super) fn known(kind: &EngineKind) -> &'static Known {
    match kind {
        EngineKind::Redis => &REDIS,
        EngineKind::Postgres { .. } => &POSTGRES,
    }
}

/// The version in what `--version` prints: `Redis server v=7.0.15 sha=…`, `postgres (PostgreSQL) 15.18 (Debian …)`.
pub(super) fn version_in(said: &str) -> Option<&str> {
    let words = || said.split_whitespace();
    let marked = words().find_map(|word| word.strip_prefix("v="));
    marked.or_else(|| words().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_tells_its_version_in_its_own_way() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=95cd";
        assert_eq!(version_in(redis), Some("7.0.15"));
        let postgres = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)";
        assert_eq!(version_in(postgres), Some("15.18"));
        assert_eq!(version_in("no version here"), None);
    }
}
