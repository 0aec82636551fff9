//! Severances: where no commit waits for replicas, nobody is cut off from a master that goes on: what it acknowledges from
//! then on would be nowhere else.
//!
//! It must not know why somebody is severed.

use crate::{Violation, broken};
use baton_core::ids::{EngineRun, InstanceName, Stamp};
use baton_core::record::Record;

/// The statement.
pub const STATEMENT: &str =
    "no in-sync member is severed while its master goes on and no commit waits for it";

/// Whether a member may be severed at the version of this record. `leads`: the recorded master accepts writes and holds the right to.
///
/// # Errors
/// It is in the in-sync set of a master that goes on.
pub fn check_severed(record: &Record, member: &InstanceName, leads: bool) -> Result<(), Violation> {
    if !leads || record.ack_quorum > 0 || !record.in_sync.contains(member) {
        return Ok(());
    }
    let master = record.master.as_ref().map(ToString::to_string).unwrap_or_default();
    broken("severances", format!("{member} is severed from {master}, which leads at term {}", record.term))
}

/// Whether a member may replicate again that was severed at `severed`, after nothing later than `seen`.
///
/// # Errors
/// It was bound, and is not any more.
pub fn check_lifted(member: &InstanceName, severed: Stamp, seen: Stamp) -> Result<(), Violation> {
    if seen > severed {
        return Ok(());
    }
    let text =
        format!("{member} was severed by version {} and obeys version {}", severed.version, seen.version);
    broken("severances", text)
}

/// Whether a member's engine may be told to follow another while its state file calls this run of it whole.
///
/// # Errors
/// Its guard dies now, the next one vouches for a severance by what is in the file, and the order that is still in the engine's
/// socket undoes it.
pub fn check_followed(
    member: &InstanceName,
    run: &EngineRun,
    whole: Option<&EngineRun>,
) -> Result<(), Violation> {
    if whole != Some(run) {
        return Ok(());
    }
    broken("severances", format!("{member} is told to follow while its state file calls {run} whole"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{instance, record};
    use baton_core::ids::Version;

    #[test]
    fn a_member_of_a_master_that_leads_is_found_and_nobody_else() {
        let mut record = record(2, "a1", 1);
        record.in_sync.insert(instance("a2"));
        let violation = check_severed(&record, &instance("a2"), true).expect_err("a1 leads");
        assert_eq!(violation.text, "a2 is severed from a1, which leads at term 2");
        assert_eq!(check_severed(&record, &instance("a2"), false), Ok(()), "it does not");
        assert_eq!(check_severed(&record, &instance("a3"), true), Ok(()), "it is not in the set");
        record.ack_quorum = 1;
        assert_eq!(check_severed(&record, &instance("a2"), true), Ok(()), "commits wait meanwhile");
    }

    #[test]
    fn an_order_to_follow_finds_nothing_on_disk_that_it_could_make_untrue() {
        let [run, earlier] = ["r1", "r0"].map(|run| EngineRun(run.into()));
        assert_eq!(check_followed(&instance("a2"), &run, None), Ok(()));
        assert_eq!(check_followed(&instance("a2"), &run, Some(&earlier)), Ok(()), "it has ended");
        let violation = check_followed(&instance("a2"), &run, Some(&run)).expect_err("it could");
        assert_eq!(violation.text, "a2 is told to follow while its state file calls r1 whole");
    }

    #[test]
    fn only_a_later_version_lifts_a_severance() {
        let stamp = |version| Stamp { generation: 1, version: Version(version) };
        assert_eq!(check_lifted(&instance("a2"), stamp(3), stamp(4)), Ok(()));
        let violation = check_lifted(&instance("a2"), stamp(3), stamp(3)).expect_err("it is bound");
        assert_eq!(violation.text, "a2 was severed by version 3 and obeys version 3");
    }
}
