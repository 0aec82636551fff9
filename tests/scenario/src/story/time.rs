//! Verbs of time: `advance 500ms`, `stabilize`, `clock a1 ppm=5000`, `clock a1 stopped`.

use super::{StoryError, Words, span};
use crate::world::World;

pub(super) fn verb(world: &mut World, verb: &str, words: &mut Words<'_>) -> Result<bool, StoryError> {
    match verb {
        "advance" => world.advance(span(&words.one()?)?),
        "stabilize" => world.stabilize(),
        "clock" => {
            let ppm = words.value("ppm")?;
            let stopped = words.0.take_flag("stopped")?;
            let host = words.one()?;
            let ppm = match ppm {
                Some(text) => text
                    .parse()
                    .map_err(|_| StoryError::Words(format!("{text:?} is no number of millionths")))?,
                None if stopped => -1_000_000,
                None => 0,
            };
            let now = world.now;
            if let Some(node) = world.nodes.values_mut().find(|node| node.name.as_str() == host) {
                node.clock.set_rate(now, ppm);
            } else if let Some(node) = world.arbiters.get_mut(&host) {
                node.clock.set_rate(now, ppm);
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}
