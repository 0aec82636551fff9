//! Which safety rules this daemon keeps: all. Only a test build, with the feature `break`, can be told to break one, so that chaos is
//! seen to find it; a release has not even the code.

use baton_core::rules::Rules;

/// Where a test build is told which rule to break, by the name of its breach.
#[cfg(feature = "break")]
pub const BREACH: &str = "BREAK_A_RULE";

/// The rules of this process's guards and arbiter.
#[cfg(not(feature = "break"))]
pub(crate) fn rules() -> Rules {
    Rules::default()
}

/// The rules of this process's guards and arbiter.
#[cfg(feature = "break")]
pub(crate) fn rules() -> Rules {
    let Some(breach) = std::env::var_os(BREACH) else { return Rules::default() };
    let rule = breach.to_str().and_then(baton_core::rules::Rule::named);
    // A test build whose breach is misspelled would prove a checker that was never tried.
    Rules::without(rule.unwrap_or_else(|| panic!("{BREACH} names no rule: {}", breach.display())))
}
