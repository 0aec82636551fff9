//! Every change of master as it happens, a line each: what a person keeps open beside what they do.
//!
//! It must not ask again and again: it follows what routers follow.

use super::{Failure, Io, write_json};
use crate::args::Cli;
use crate::render;
use baton_client::{Client, ClientOptions, Master};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// After so long without a change it is looked whether anybody is there to tell of one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Until interrupted. First what is known, then each change; of one set only, if it is named.
pub(crate) async fn run(cli: &Cli, io: &mut Io<'_>, replicaset: Option<&str>) -> Result<(), Failure> {
    let mut client = Client::start(ClientOptions::new(cli.endpoint.iter().map(String::as_str)))?;
    let mut shown = BTreeMap::new();
    loop {
        let known = client.masters();
        let changes = changes(&shown, &known, replicaset);
        for (name, master) in &changes {
            let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            if cli.json {
                let (term, state) = (master.term, master.state.name());
                write_json(
                    io,
                    &serde_json::json!({
                        "at": at, "replicaset": name, "term": term, "master": master.instance,
                        "endpoint": master.endpoint, "state": state,
                    }),
                )?;
            } else {
                write!(io.out, "{}", render::change(&at, name, master, io.palette))?;
            }
        }
        io.out.flush()?;
        shown = known;
        let mut waited = false;
        while tokio::time::timeout(PATIENCE, client.changed()).await.is_err() {
            // Said once an absence: what is on the screen may be old from here on.
            let alone = client.connected_to().is_none();
            if alone && !waited {
                writeln!(io.err, "no coordinator answers at {}; trying on", cli.endpoint.join(", "))?;
            }
            waited = alone;
        }
    }
}

/// What differs, by the set's name.
fn changes<'a>(
    shown: &BTreeMap<String, Master>,
    known: &'a BTreeMap<String, Master>,
    wanted: Option<&str>,
) -> Vec<(&'a str, &'a Master)> {
    let of_wanted = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    let differs =
        |(name, master): &(&'a String, &'a Master)| of_wanted(name) && shown.get(*name) != Some(*master);
    known.iter().filter(differs).map(|(name, master)| (name.as_str(), master)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_client::MasterState;

    fn map(masters: &[(&str, u64)]) -> BTreeMap<String, Master> {
        let master = |(name, term): &(&str, u64)| {
            let state = MasterState::Active;
            ((*name).to_owned(), Master { instance: "a1".into(), endpoint: "h:1".into(), term: *term, state })
        };
        masters.iter().map(master).collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let (shown, known) = (map(&[("a", 1), ("b", 1)]), map(&[("a", 2), ("b", 1), ("c", 1)]));
        let told =
            |wanted| changes(&shown, &known, wanted).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(told(None), ["a", "c"]);
        assert_eq!(told(Some("c")), ["c"]);
        assert_eq!(told(Some("b")), [""; 0]);
    }
}
