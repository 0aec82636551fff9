//! Verbs of people and their clients.
//!
//! `client-write a1`, `switchover` or `switchover to=a2 timeout=2s`, `abort` (the last of them), `set-writable a1` (an operator's hand),
//! `set-read-only a1`, `resign b1`, `next-write lost`, `next-write unanswered`, `next-write delayed`, `delayed-write`

use super::{StoryError, Words, span};
use crate::world::{Answer, NextWrite, World};
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
            world.say("client", &format!("{write} at {instance}: {text}"));
        }
        "switchover" => {
            let target = words.value("to")?.map(|name| InstanceName::parse(&name)).transpose()?;
            let timeout = words.value("timeout")?.map(|text| span(&text)).transpose()?;
            world.switchover(target, timeout.unwrap_or(Span::from_secs(2)));
        }
        "abort" => world.abort(),
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
