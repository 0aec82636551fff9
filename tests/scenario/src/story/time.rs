//! Verbs of time: `advance 500ms`, `stabilize`, `at-rest` (the same, untold: for the beginning of a story), `clock a1 ppm=5000`, `clock a1 stopped`.

use super::{StoryError, Words, span};
use crate::world::World;

pub(super) fn verb(world: &mut World, verb: &str, words: &mut Words<'_>) -> Result<bool, StoryError> {
    match verb {
        "advance" => world.advance(span(&words.one()?)?),
        "stabilize" => world.stabilize(),
        "at-rest" => {
            world.stabilize();
            let (_, violation) = world.take_lines();
            let writable = world.nodes.values().find(|node| node.engine.writable);
            let master = writable.map_or("nobody".to_owned(), |node| node.name.to_string());
            let text =
                violation.map_or(format!("{master} accepts writes"), |violation| violation.to_string());
            world.say("world", &text);
        }
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
