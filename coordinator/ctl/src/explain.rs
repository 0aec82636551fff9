//! `batonctl explain --replay`: makes a stored choice again, by the very function that made it.

use crate::args::Cli;
use crate::{Exit, Failure, Io, render, write_json};
use baton_client::decision::DecisionRecord;
use baton_client::replay::replay;
use serde_json::json;
use std::io::Write as _;

pub(crate) fn replayed(cli: &Cli, io: &mut Io<'_>, decision: &DecisionRecord) -> Result<Exit, Failure> {
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
