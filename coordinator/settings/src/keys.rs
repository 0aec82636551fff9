//! What each setting is called and what it is for, in the order in which people read them.

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it does, in a line or two.
    pub help: &'static str,
    /// Whether a replica set can have it otherwise.
    pub of_set: bool,
    /// What is shown where it has no value, as an example of one.
    pub unset: Option<&'static str>,
}

const fn key(name: &'static str, of_set: bool, help: &'static str) -> Key {
    Key { name, help, of_set, unset: None }
}

/// All of them.
pub const KEYS: [Key; 17] = [
    key(
        "lease_ttl",
        false,
        "How long a silent master may keep its right; every other timing is derived from it.",
    ),
    Key {
        unset: Some("\"3s\""),
        ..key(
            "stall_timeout",
            false,
            "How long a tiny write may take before the engine counts as stalled; lease_ttl if not set.",
        )
    },
    Key {
        unset: Some("1_000_000"),
        ..key(
            "max_lag",
            true,
            "Candidates more bytes behind the best than this are refused; if not set, the best is taken and the loss is reported.",
        )
    },
    key(
        "loss_policy",
        true,
        "What a failover may lose: none, bounded (what the in-sync set allows) or any (rather than no master).",
    ),
    key("ack_quorum", true, "For how many replicas a commit waits."),
    key(
        "zone_policy",
        true,
        "What the old master's zone counts for: prefer (among equals), same (nobody else by itself) or any (nothing).",
    ),
    key("autoreturn", true, "Whether the preferred member gets the mastership back by itself."),
    key("autoreturn_delay", true, "After so long in good health."),
    key(
        "immunity",
        true,
        "For so long after an appointment nothing is moved by the arbiter's own wish (autoreturn, drain).",
    ),
    key(
        "suppress_threshold",
        true,
        "More automatic failovers of a set than this within suppress_window hold it; 0: never.",
    ),
    key("suppress_window", true, "See suppress_threshold."),
    Key {
        unset: Some("10"),
        ..key(
            "max_failovers_per_minute",
            false,
            "More automatic failovers of the whole cluster within a minute hold the rest until a person resumes; if not set: never.",
        )
    },
    key(
        "failsafe",
        false,
        "Whether a master goes on while no arbiter answers, as long as every other in-sync member promises to lead nothing.",
    ),
    key(
        "check_identity",
        true,
        "Whether an instance with empty or foreign data is kept from being appointed.",
    ),
    Key {
        unset: Some("\"/etc/baton/fence\""),
        ..key(
            "fence_command",
            false,
            "A command on the arbiter's host that turns a host off and ends with 0 only once it is off.",
        )
    },
    key("clock_drift_ppm", false, "How two hosts' clocks may differ in rate, in millionths."),
    key("drained", false, "Zones in which there should be no master for now."),
];
