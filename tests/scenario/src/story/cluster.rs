//! Verbs that make a cluster and change what its hosts hold.
//!
//! `cluster instances=(a1,a2,a3) arbiters=(b1,b2) ack_quorum=1 lease=3s bootstrap=3 data=(a1,a2) max_lag=10 no-failsafe durable`
//! `set a1 priority=200`, `set a1 zone=east`, `set a1 not-electable`, `wipe a1`, `swap a1` (foreign data)

use super::{StoryError, Words, span};
use crate::fixtures;
use crate::world::{Entry, Setup, World};
use baton_core::ids::{DataId, InstanceName, Term, Zone};
use baton_core::record::Settings;
use std::collections::BTreeMap;

pub(super) fn build(words: &mut Words<'_>) -> Result<World, StoryError> {
    let instances = words.values("instances")?.unwrap_or_else(|| vec!["a1".into(), "a2".into(), "a3".into()]);
    let instances: Vec<_> =
        instances.iter().map(|name| InstanceName::parse(name)).collect::<Result<_, _>>()?;
    let mut settings = Settings::default();
    if let Some(lease) = words.value("lease")? {
        settings.lease_ttl = span(&lease)?;
    }
    if let Some(k) = words.number("ack_quorum")? {
        settings.ack_quorum = u32::try_from(k).unwrap_or(u32::MAX);
    }
    settings.failsafe = !words.0.take_flag("no-failsafe")?;
    settings.max_lag_bytes = words.number("max_lag")?;
    let mut data = BTreeMap::new();
    for name in words.values("data")?.unwrap_or_default() {
        data.insert(InstanceName::parse(&name)?, fixtures::found(3));
    }
    let priorities = (0_u32..).zip(&instances).map(|(place, name)| (name.clone(), 110 - 10 * place.min(10)));
    let setup = Setup {
        durable: words.0.take_flag("durable")?,
        priorities: priorities.collect(),
        arbiters: words.values("arbiters")?.unwrap_or_else(|| vec!["b1".into(), "b2".into()]),
        settings,
        bootstrap_members: words.number("bootstrap")?.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        data,
        instances,
        ..fixtures::setup()
    };
    Ok(World::new(setup)?)
}

pub(super) fn verb(world: &mut World, verb: &str, words: &mut Words<'_>) -> Result<bool, StoryError> {
    match verb {
        "set" => {
            let priority = words.number("priority")?;
            let zone = words.value("zone")?.map(|zone| Zone::parse(&zone)).transpose()?;
            let not_electable = words.0.take_flag("not-electable")?;
            let adopted = words.0.take_flag("adopted")?;
            let instance = words.instance()?;
            if let Some(node) = world.nodes.get_mut(&instance) {
                node.priority = priority.map_or(node.priority, |it| u32::try_from(it).unwrap_or(u32::MAX));
                node.zone = zone.or(node.zone.take());
                node.electable = node.electable && !not_electable;
                node.supervised = node.supervised && !adopted;
            }
        }
        "wipe" => replace_data(world, &words.instance()?, Vec::new()),
        "swap" => {
            let foreign = vec![Entry::Mark(DataId("foreign".into()), Term(9))];
            replace_data(world, &words.instance()?, foreign);
        }
        "lose-tail" => {
            let keep = words.number("keep")?.unwrap_or(0);
            let instance = words.instance()?;
            let log = world.nodes.get(&instance).map(|node| node.engine.log.clone()).unwrap_or_default();
            let keep = usize::try_from(keep).unwrap_or(usize::MAX).min(log.len());
            replace_data(world, &instance, log[..keep].to_vec());
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The engine ends, and the next run finds other data.
fn replace_data(world: &mut World, instance: &InstanceName, log: Vec<Entry>) {
    world.end_engine(instance);
    if let Some(node) = world.nodes.get_mut(instance) {
        node.engine.replace_data(log);
    }
}
