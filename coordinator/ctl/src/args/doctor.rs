//! The command line of `batonctl doctor`: which configuration. Decides nothing.

use clap::Args;
use std::path::PathBuf;

const ABOUT: &str = "\
Check whether this host is fit for its engines

Run it on the host itself, as the user that the daemon runs as, before the first start and after a change of the host. It reads the
coordinator's configuration (and its BATON_… variables) as the daemon would. It changes nothing: it writes and removes one small
file in state_dir, and makes, kills and removes one cgroup.

Each row says ok, notice, warning, problem or skipped, what was seen, and what to do. How far the clocks of two hosts drift apart is
not measured, since that takes longer than a person waits; nor is the time of a write at the provider, since nothing is written there.";

const EXAMPLES: &str = "\
Examples:
  batonctl doctor                               with /etc/baton/coordinator.toml
  batonctl doctor --config ./a.toml --json      for a script: one line with all findings
  systemd-run --pty --uid=baton -p Delegate=yes -p LimitMEMLOCK=infinity -p LimitNOFILE=65536 batonctl doctor
                                                with the rights that the unit gives to the daemon

Exit codes: 0 no problem (there may be warnings), 1 a problem, 2 bad usage.";

/// A check of this host.
#[derive(Args, Clone, Debug)]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// The coordinator's configuration
    #[arg(long, value_name = "FILE", env = "BATON_CONFIG", default_value = baton_coordinator::config::DEFAULT_FILE)]
    pub config: PathBuf,
}
