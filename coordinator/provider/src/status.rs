//! What a failed call of tonic says, for the clients of every provider: whether it ever left, and all of its text.

use std::error::Error;
use tonic::{ConnectError, Status};

/// Whether the connection was not even made.
pub(crate) fn was_never_sent(status: &Status) -> bool {
    let mut source: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = source {
        if error.downcast_ref::<ConnectError>().is_some() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The code, the message and every cause that adds to them, in one line.
pub(crate) fn text_of(status: &Status) -> String {
    let mut text = format!("{}: {}", status.code(), status.message());
    let mut source = status.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
