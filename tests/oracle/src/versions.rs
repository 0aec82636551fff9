//! Versions: a guard never acts upon a directive below the highest that it has acted upon.
//!
//! It must not know what the directive says.

use crate::{Violation, broken};
use baton_core::ids::Stamp;
use std::fmt::Display;

/// The statement.
pub const STATEMENT: &str = "a guard never acts upon a directive below the highest that it has acted upon";

/// Whether a directive may have had an effect.
///
/// # Errors
/// A later one had before.
pub fn check_heeded(instance: &dyn Display, message: Stamp, highest: Stamp) -> Result<(), Violation> {
    if message >= highest {
        return Ok(());
    }
    let text =
        format!("{instance} has acted upon version {} and then upon {}", highest.version, message.version);
    broken("versions", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::Version;

    #[test]
    fn only_lower_versions_are_wrong() {
        let stamp = |version| Stamp { generation: 1, version: Version(version) };
        assert_eq!(check_heeded(&"a1", stamp(3), stamp(3)), Ok(()));
        assert_eq!(check_heeded(&"a1", stamp(4), stamp(3)), Ok(()));
        let violation = check_heeded(&"a1", stamp(2), stamp(3)).expect_err("version 3 was acted upon");
        assert_eq!(violation.text, "a1 has acted upon version 3 and then upon 2");
        // After a restore versions may begin anew.
        assert_eq!(check_heeded(&"a1", Stamp { generation: 2, version: Version(1) }, stamp(3)), Ok(()));
    }
}
