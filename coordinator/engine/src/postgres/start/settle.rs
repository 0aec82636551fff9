//! A checkpoint on the data's own timeline. Up to version 15 pg_rewind takes the timeline of the last checkpoint for the one that the
//! data is of; a master that was killed before its first checkpoint has none on the timeline that its promotion began, and no standby
//! makes one that it did not replay. Such data would be copied whole, in the minutes after a failover, when a second one is likeliest.

use super::controldata::ControlData;
use super::tools::{Tools, run};
use super::{at, say};
use crate::postgres::place::{Order, Place};
use std::fs;
use std::io;

/// Has a server that nobody can connect to recover the data up to its end and make a checkpoint there. `false`: there was one already.
/// What is added to the log is beyond what the master has, like all that is about to be taken back.
pub(super) fn make_checkpoint(place: &Place, tools: &Tools, order: &Order) -> Result<bool, String> {
    let control = ControlData::read(place, tools)?;
    if control.checkpoint_timeline()? == order.timeline {
        return Ok(false);
    }
    // Else it would recover less than was replayed before, on top of what was.
    if control.recovered_timeline()? != order.timeline {
        return Err(format!("its control file knows nothing of timeline {}", order.timeline));
    }
    say(&format!("there is no checkpoint on timeline {} yet: one is made", order.timeline));
    // A standby would go on being one. The signal is put back before the server starts.
    match fs::remove_file(place.data.join("standby.signal")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at("standby.signal cannot be removed")(error));
        }
        _ => {}
    }
    run(tools.server_alone()).map(|()| true)
}
