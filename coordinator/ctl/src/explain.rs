//! `batonctl explain`: shows a stored decision and, with `--replay`, makes its choice again by the very function that made
//! it.

use crate::args::Cli;
use crate::{Exit, Failure, Io, render, write_json};
use baton_client::decision::DecisionRecord;
use baton_client::replay::replay;
use serde_json::json;
use std::io::Write as _;

pub(crate) fn shown(
    cli: &Cli,
    io: &mut Io<'_>,
    decision: &DecisionRecord,
    again: bool,
) -> Result<Exit, Failure> {
    if again {
        return replayed(cli, io, decision);
    }
    if cli.json {
        write_json(io, decision)?;
    } else {
        write!(io.out, "{}", render::decision(decision, io.palette))?;
    }
    Ok(Exit::Done)
}

fn replayed(cli: &Cli, io: &mut Io<'_>, decision: &DecisionRecord) -> Result<Exit, Failure> {
    let again = replay(decision)?;
    if cli.json {
        write_json(io, &json!({"same": again.same, "decision": decision, "ranking": again.ranking}))?;
    } else {
        write!(io.out, "{}", render::decision(decision, io.palette))?;
        if again.same {
            writeln!(io.out, "made again from what is stored: the same ranking")?;
        } else {
            writeln!(
                io.out,
                "made again from what is stored, it comes out otherwise (another version decided it):"
            )?;
            for ranked in &again.ranking {
                writeln!(io.out, "  {}: {}", ranked.instance, ranked.verdict)?;
            }
        }
    }
    Ok(if again.same { Exit::Done } else { Exit::Failed })
}
