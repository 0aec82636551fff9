//! Who counts: where commits wait for replicas, only those acknowledge whose report a failover asks for.
//!
//! It must not know how an engine counts.

use crate::{Violation, broken};
use baton_core::ids::InstanceName;
use baton_core::record::Record;

/// The statement.
pub const STATEMENT: &str = "where commits wait for replicas, whoever acknowledges is in the recorded in-sync set or a straggler of its master";

/// Whether a replica's acknowledgement may count at the recorded master.
///
/// # Errors
/// Nobody would ask for its report.
pub fn check_counted(record: &Record, replica: &InstanceName) -> Result<(), Violation> {
    let mut stragglers = record.master.iter().flat_map(|master| record.stragglers.of(master));
    let known = record.in_sync.contains(replica) || stragglers.any(|member| member == replica);
    if record.ack_quorum == 0 || known {
        return Ok(());
    }
    broken("counted", format!("{replica} acknowledges at term {} and is not in the record", record.term))
}

/// Whether a higher number may be recorded: for how many replicas the master waits in truth.
///
/// # Errors
/// It waits for fewer, and a failover would ask for too few reports.
pub fn check_raised(record: &Record, waits_for: u32) -> Result<(), Violation> {
    if waits_for >= record.ack_quorum {
        return Ok(());
    }
    let text = format!("commits wait for {} by the record, and for {waits_for} in truth", record.ack_quorum);
    broken("counted", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{instance, record};

    #[test]
    fn an_outsider_counts_only_where_nobody_waits() {
        let mut record = record(2, "a1", 1);
        assert_eq!(check_counted(&record, &instance("a2")), Ok(()), "nobody waits");
        record.ack_quorum = 1;
        let violation = check_counted(&record, &instance("a2")).expect_err("a2 is unknown");
        assert_eq!(violation.text, "a2 acknowledges at term 2 and is not in the record");
        record.stragglers.add(instance("a2"), instance("a3"));
        assert!(
            check_counted(&record, &instance("a2")).is_err(),
            "it would be asked by another master's successor"
        );
        record.stragglers.add(instance("a2"), instance("a1"));
        assert_eq!(check_counted(&record, &instance("a2")), Ok(()), "a straggler is asked too");
    }

    #[test]
    fn a_number_that_nobody_waits_for_is_found() {
        let record = Record { ack_quorum: 1, ..record(2, "a1", 1) };
        assert_eq!(check_raised(&record, 1), Ok(()));
        assert!(check_raised(&record, 0).is_err());
    }
}
