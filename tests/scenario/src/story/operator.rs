//! Verbs of people and their clients.
//!
//! `client-write a1`, `switchover` or `switchover to=a2 timeout=2s`, `drill fault=kill_engine` or `drill fault=switchover spares=2
//! timeout=9s accept-loss return`, `drill-rails` (the same words: every guard rail), `abort` (the last task), `pause-set` or
//! `pause-set for=10s`, `resume-set`, `remove-set`, `force` or `force to=a2 fence others-off`, `fence-command fails`, `maintain a1 for=60s`,
//! `settings autoreturn=true drained=east` (as `batonctl settings set` takes them), `set-writable a1` (an operator's hand),
//! `set-read-only a1`, `resign b1`, `next-write lost`, `next-write unanswered`, `next-write delayed`, `delayed-write`

use super::{StoryError, Words, span};
use crate::world::{Answer, NextWrite, World};
use baton_core::arbiter::{DrillAsked, Fault, Forcing};
use baton_core::ids::InstanceName;
use baton_core::time::Span;

pub(super) fn verb(world: &mut World, verb: &str, words: &mut Words<'_>) -> Result<bool, StoryError> {
    match verb {
        "client-write" => {
            let instance = words.instance()?;
            let (write, answer) = world.client_write(&instance);
            let text = match answer {
                Answer::Acknowledged => "acknowledged",
                Answer::ReadOnly => "refused, read-only",
                Answer::Waits => "waits for replicas",
                Answer::Silence => "no answer",
            };
            world.say("client", format!("{write} at {instance}: {text}"));
        }
        "switchover" => {
            let target = words.value("to")?.map(|name| InstanceName::parse(&name)).transpose()?;
            let timeout = words.value("timeout")?.map(|text| span(&text)).transpose()?;
            world.switchover(target, timeout.unwrap_or(Span::from_secs(2)));
        }
        "drill" | "drill-rails" => drill(world, verb, words)?,
        "abort" => world.abort(),
        "pause-set" => {
            let span = words.value("for")?.map(|text| span(&text)).transpose()?;
            world.pause_set(span);
        }
        "resume-set" => world.resume_set(),
        "remove-set" => world.remove_set(),
        "force" => {
            let target = words.value("to")?.map(|name| InstanceName::parse(&name)).transpose()?;
            let timeout = words.value("timeout")?.map(|text| span(&text)).transpose()?;
            let fence = words.0.take_flag("fence")?;
            let others_off = words.0.take_flag("others-off")?;
            let forcing = Forcing { fence, others_off };
            world.force_with(target, timeout.unwrap_or(Span::from_secs(10)), forcing);
        }
        "fence-command" => world.fence_works = words.one()? == "works",
        "maintain" => {
            let span = span(&words.needed("for")?)?;
            let instance = words.instance()?;
            let mut settings = world.settings.clone();
            let until = world.unix_millis() + span.as_millis();
            settings.members.entry(instance).or_default().maintenance_until = Some(until);
            world.change_settings(settings);
        }
        "settings" => {
            let settings = baton_settings::change(&world.settings, &changes(words)?);
            world.change_settings(settings.map_err(|problems| StoryError::Words(problems.to_string()))?);
        }
        "set-writable" | "set-read-only" => {
            let instance = words.instance()?;
            world.set_by_hand(&instance, verb == "set-writable");
        }
        "resign" => world.resign(&words.one()?),
        "next-write" => {
            let treatment = match words.one()?.as_str() {
                "lost" => NextWrite::LoseRequest,
                "unanswered" => NextWrite::LoseAnswer,
                "delayed" => NextWrite::Delay,
                other => return Err(StoryError::Words(format!("a write cannot be {other}"))),
            };
            world.treat_next_write(treatment);
        }
        "delayed-write" => world.let_write_through(),
        _ => return Ok(false),
    }
    Ok(true)
}

/// A drill, or every guard rail of it.
fn drill(world: &mut World, verb: &str, words: &mut Words<'_>) -> Result<(), StoryError> {
    let fault = words.needed("fault")?;
    let fault = Fault::ALL.into_iter().find(|known| known.name() == fault);
    let fault = fault.ok_or_else(|| StoryError::Words("no such fault".to_owned()))?;
    let timeout = words.value("timeout")?.map(|text| span(&text)).transpose()?;
    let spares = u32::try_from(words.number("spares")?.unwrap_or(1)).unwrap_or(u32::MAX);
    let (accept_loss, back) = (words.0.take_flag("accept-loss")?, words.0.take_flag("return")?);
    let asked = DrillAsked { fault, spares, accept_loss, back };
    if verb == "drill" {
        world.drill(asked, timeout.unwrap_or(Span::from_secs(10)));
        return Ok(());
    }
    for rail in world.rails(asked).map_err(StoryError::Words)? {
        let holds = if rail.holds { "holds" } else { "BROKEN" };
        world.say("rail", format!("{} {holds}: {}", rail.name, rail.seen));
    }
    Ok(())
}

/// `key=value` words as changes; `key=(one,two)` for a list, `key` alone takes a value back.
fn changes(words: &mut Words<'_>) -> Result<Vec<baton_settings::Change>, StoryError> {
    let args = std::mem::take(&mut words.0.args);
    let change = |(key, values): (String, Vec<String>)| {
        baton_settings::Change::parse(&format!("{key}={}", values.join(","))).map_err(StoryError::Words)
    };
    args.into_iter().map(change).collect()
}
