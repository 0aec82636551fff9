//! Verbs of the network. Hosts are instances, arbiters and `board`.
//!
//! `cut a1 b1` (both ways), `cut from=a1 to=b1`, `isolate a1`, `hold from=b1 to=a1 kind=grant`,
//! `release from=b1 to=a1`, `drop from=b1 to=a1` (what is held), `close a1` (its stream), `heal`

use super::{StoryError, Words};
use crate::world::World;

pub(super) fn verb(world: &mut World, verb: &str, words: &mut Words<'_>) -> Result<bool, StoryError> {
    match verb {
        "cut" => match (words.value("from")?, words.value("to")?) {
            (Some(from), Some(to)) => world.net().cut(&from, &to),
            _ => match words.bare().as_slice() {
                [one, other] => world.cut(one, other),
                _ => return Err(StoryError::Words("cut needs two hosts".to_owned())),
            },
        },
        "isolate" => world.isolate(&words.one()?),
        "hold" => {
            let kind = words.value("kind")?.unwrap_or_else(|| "all".to_owned());
            let (from, to) = (words.needed("from")?, words.needed("to")?);
            world.net().hold(&from, &to, &kind);
        }
        "release" => {
            let (from, to) = (words.needed("from")?, words.needed("to")?);
            let count = world.release(&from, &to);
            world.say("network", format!("{count} held messages from {from} to {to} are let through"));
        }
        "drop" => {
            let (from, to) = (words.needed("from")?, words.needed("to")?);
            let count = world.net().drop_held(&from, &to);
            world.say("network", format!("{count} held messages from {from} to {to} are lost"));
        }
        "close" => {
            let instance = words.instance()?;
            world.close_stream(&instance);
        }
        "heal" => world.heal(),
        _ => return Ok(false),
    }
    Ok(true)
}
