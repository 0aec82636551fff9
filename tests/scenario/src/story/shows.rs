//! Verbs that look: `show masters`, `show hosts`, `show record`, `show set`, `show decision`.

use super::{StoryError, Words};
use crate::show;
use crate::world::World;

pub(super) fn verb(world: &mut World, verb: &str, words: &mut Words<'_>) -> Result<bool, StoryError> {
    if verb != "show" {
        return Ok(false);
    }
    let lines = match words.one()?.as_str() {
        "masters" => masters(world),
        "hosts" => hosts(world),
        "record" => record(world),
        "set" => set(world),
        "decision" => decision(world),
        other => return Err(StoryError::Words(format!("{other} cannot be shown"))),
    };
    for line in lines {
        world.say("show", &line);
    }
    Ok(true)
}

fn masters(world: &World) -> Vec<String> {
    let writable =
        world.nodes.values().filter(|node| node.engine.running && node.engine.writable && !node.frozen);
    let names: Vec<_> = writable.map(|node| node.name.to_string()).collect();
    vec![if names.is_empty() {
        "nobody accepts writes".to_owned()
    } else {
        format!("{} accepts writes", names.join(" and "))
    }]
}

fn hosts(world: &World) -> Vec<String> {
    let host = |node: &crate::world::Node| {
        let engine = &node.engine;
        let state = match (engine.running, engine.writable) {
            (false, _) => "down".to_owned(),
            (true, true) => "writable".to_owned(),
            (true, false) => match &engine.follows {
                Some(endpoint) if engine.link_up => format!("follows {endpoint}"),
                Some(endpoint) => format!("follows {endpoint}, link down"),
                None => "fenced".to_owned(),
            },
        };
        format!("{}: {state}, {}", node.name, engine.position())
    };
    world.nodes.values().map(host).collect()
}

fn record(world: &World) -> Vec<String> {
    let Some(record) = world.provider.record() else { return vec!["there is no record".to_owned()] };
    let master = record.master.as_ref().map_or("nobody".to_owned(), ToString::to_string);
    let in_sync: Vec<_> = record.in_sync.iter().map(ToString::to_string).collect();
    vec![format!(
        "v{} term {} of {master}, start {}, in sync {}, waits for {}, epoch {} ({})",
        record.version,
        record.term,
        record.start,
        in_sync.join(","),
        record.ack_quorum,
        record.epoch,
        record.reason
    )]
}

fn set(world: &World) -> Vec<String> {
    let view = world.active_arbiter().and_then(|name| {
        let node = world.arbiters.get(&name)?;
        node.machine.as_ref()?.set_view(node.clock.read(world.now), &world.replicaset)
    });
    match view {
        Some(view) => vec![format!("{}: {}", view.state.name(), view.phase)],
        None => vec!["no arbiter is active".to_owned()],
    }
}

fn decision(world: &World) -> Vec<String> {
    let mut decisions = world.arbiters.values().filter_map(|node| {
        node.machine.as_ref()?.set_view(node.clock.read(world.now), &world.replicaset)?.last_decision
    });
    decisions
        .next_back()
        .map_or_else(|| vec!["nothing was decided".to_owned()], |decision| show::decision(&decision))
}
