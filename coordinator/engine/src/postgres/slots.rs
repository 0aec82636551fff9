//! Physical replication slots: a master keeps its log until those who are away have had it, and so does whoever leads next.
//!
//! Each server has a slot at its master, `baton_` and its name, which it makes as it follows. Slots are not replicated: a standby copies
//! its master's, and moves them on as the master's move, so that they are there when it leads. Which one is the master's own is told by
//! its `primary_slot_name`. All slots whose names begin so are ours, also those that a person made: they are copied, and
//! those that hold back more than [`LIMIT`] are dropped, since a full disk would be worse than a copy.
//!
//! A commit never waits for a slot, and nothing here is an order of the guard's.

use super::Options;
use super::connection::Session;
use super::orders::Failure;
use super::text::{endpoint_of, literal};
use super::timelines::text_of;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::SimpleQueryMessage;

/// What slots of ours begin with.
const PREFIX: &str = "baton_";
/// The server's own limit.
const NAME_MAX: usize = 63;
/// Between two rounds.
const PERIOD: Duration = Duration::from_secs(5);
/// After a refusal, which the server writes into its log each time.
const PERIOD_REFUSED: Duration = Duration::from_secs(60);
/// For one round.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much a slot whose owner is away may hold back, in bytes of the log.
const LIMIT: u64 = 10 << 30;

/// The slot of an instance. Slots have small letters, digits and underscores only: other names get a number that tells them apart.
pub(super) fn name_of(instance: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if instance.bytes().all(plain) && PREFIX.len() + instance.len() <= NAME_MAX {
        return format!("{PREFIX}{instance}");
    }
    // FNV-1a.
    let number = instance.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let letters = instance.bytes().map(|byte| byte.to_ascii_lowercase());
    let letters = letters.map(|byte| if plain(byte) { char::from(byte) } else { '_' });
    let short: String = letters.take(NAME_MAX - PREFIX.len() - 17).collect();
    format!("{PREFIX}{short}_{number:016x}")
}

/// Makes sure that there is a slot at the master, and that nobody holds it. `false`: the master would not.
pub(super) async fn claim(master: &Session, name: &str) -> Result<bool, Failure> {
    let name = literal(name);
    let holders = format!(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = {name} AND active_pid IS NOT NULL"
    );
    let lost = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
         WHERE slot_name = {name} AND wal_status = 'lost' AND NOT active"
    );
    let make = format!(
        "SELECT pg_create_physical_replication_slot({name}, true) \
         WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {name})"
    );
    for statement in [holders, lost, make] {
        match master.run(&statement).await {
            Ok(_) => {}
            Err(Failure::Refused(_)) => return Ok(false),
            Err(broken) => return Err(broken),
        }
    }
    Ok(true)
}

/// Looks after an instance's slots for as long as it is polled.
pub(super) async fn keep(options: &Options) {
    let mut keeper = Keeper::default();
    let mut pause = PERIOD;
    loop {
        tokio::time::sleep(pause).await;
        let round = tokio::time::timeout(PATIENCE, keeper.round(options)).await;
        pause = PERIOD;
        match round {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => pause = PERIOD_REFUSED,
            // A server that is away, or on its way: the next round sees.
            Ok(Err(())) | Err(_) => keeper = Keeper::default(),
        }
    }
}

/// One of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Slot {
    name: String,
    /// Up to where its owner has had the log.
    at: u64,
    active: bool,
    /// The log that it was to keep is gone.
    lost: bool,
}

const SLOTS: &str = "SELECT slot_name, coalesce(restart_lsn, '0/0') - '0/0'::pg_lsn AS at, active, \
    coalesce(wal_status = 'lost', false) AS lost \
    FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT temporary AND slot_name LIKE 'baton\\_%'";

const STAND: &str = "SELECT pg_is_in_recovery() AS standby, current_setting('primary_conninfo') AS conninfo, \
    current_setting('primary_slot_name') AS own, \
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn AS reach";

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Make(String),
    Move(String, u64),
    Drop(String),
}

impl Step {
    fn statement(&self) -> String {
        match self {
            Self::Make(name) => {
                format!("SELECT pg_create_physical_replication_slot({}, true)", literal(name))
            }
            Self::Move(name, to) => {
                format!("SELECT pg_replication_slot_advance({}, '{}')", literal(name), text_of(*to))
            }
            Self::Drop(name) => format!("SELECT pg_drop_replication_slot({})", literal(name)),
        }
    }
}

/// On a master: its own slot is nobody's, and whoever is away for too long is copied anew.
fn on_master(slots: &[Slot], own: &str, reach: u64) -> Vec<Step> {
    let over = |slot: &&Slot| {
        let held_back = reach.saturating_sub(slot.at);
        !slot.active && (slot.name == own || slot.lost || held_back > LIMIT)
    };
    slots.iter().filter(over).map(|slot| Step::Drop(slot.name.clone())).collect()
}

/// On a standby: `wanted` are the master's, and its own one, which is wherever this standby is.
fn on_standby(slots: &[Slot], wanted: &BTreeMap<String, u64>, reach: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for slot in slots.iter().filter(|slot| !slot.active) {
        match wanted.get(&slot.name) {
            Some(_) if slot.lost => steps.push(Step::Drop(slot.name.clone())),
            Some(to) if slot.at < (*to).min(reach) => {
                steps.push(Step::Move(slot.name.clone(), (*to).min(reach)));
            }
            Some(_) => {}
            None => steps.push(Step::Drop(slot.name.clone())),
        }
    }
    let is_there = |name: &String| slots.iter().any(|slot| slot.name == *name);
    steps.extend(wanted.keys().filter(|name| !is_there(name)).map(|name| Step::Make(name.clone())));
    steps
}

/// What a master has, as its standby `own` copies it.
fn wanted(of_master: Vec<Slot>, masters_own: &str, own: &str, reach: u64) -> BTreeMap<String, u64> {
    let kept = of_master.into_iter().filter(|slot| !slot.lost && slot.at > 0);
    let mut wanted: BTreeMap<_, _> = kept.map(|slot| (slot.name, slot.at)).collect();
    if masters_own.starts_with(PREFIX) {
        wanted.insert(masters_own.to_owned(), reach);
    }
    wanted.remove(own);
    wanted
}

#[derive(Default)]
struct Keeper {
    server: Option<Session>,
    /// And which.
    master: Option<(String, Session)>,
}

impl Keeper {
    /// `Ok(false)`: something was refused. `Err`: a connection is of no more use.
    async fn round(&mut self, options: &Options) -> Result<bool, ()> {
        let own = name_of(&options.name);
        let server = Self::reach(self.server.take(), options, &options.address).await?;
        let stand = Stand::of(&server).await?;
        let slots = slots_of(&server).await?;
        let mut done = true;
        let steps = if !stand.standby {
            if stand.own != own {
                done = ask(&server, &format!("ALTER SYSTEM SET primary_slot_name TO {}", literal(&own)))
                    .await?
                    && ask(&server, "SELECT pg_reload_conf()").await?;
            }
            on_master(&slots, &own, stand.reach)
        } else if let Some(endpoint) = endpoint_of(&stand.conninfo) {
            let known = self.master.take().filter(|(of, _)| *of == endpoint).map(|(_, session)| session);
            let master = Self::reach(known, options, &endpoint).await?;
            let (of_master, its) = (slots_of(&master).await?, Stand::of(&master).await?);
            self.master = Some((endpoint, master));
            if its.standby {
                Vec::new()
            } else {
                on_standby(&slots, &wanted(of_master, &its.own, &own, stand.reach), stand.reach)
            }
        } else {
            Vec::new()
        };
        for step in steps {
            done &= ask(&server, &step.statement()).await?;
        }
        self.server = Some(server);
        Ok(done)
    }

    async fn reach(known: Option<Session>, options: &Options, endpoint: &str) -> Result<Session, ()> {
        if let Some(session) = known.filter(|session| !session.is_closed()) {
            return Ok(session);
        }
        let password = crate::password::read(options.password_file.as_ref()).map_err(drop)?;
        Session::open(options, password.as_deref(), endpoint).await.map_err(drop)
    }
}

/// Whether a statement was accepted.
async fn ask(session: &Session, statement: &str) -> Result<bool, ()> {
    match session.run(statement).await {
        Ok(_) => Ok(true),
        Err(Failure::Refused(_)) => Ok(false),
        Err(Failure::Broken(_)) => Err(()),
    }
}

struct Stand {
    standby: bool,
    conninfo: String,
    own: String,
    reach: u64,
}

impl Stand {
    async fn of(session: &Session) -> Result<Self, ()> {
        let rows = session.run(STAND).await.map_err(drop)?;
        let read = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(Self {
                standby: row.get("standby")? == "t",
                conninfo: row.get("conninfo")?.to_owned(),
                own: row.get("own")?.to_owned(),
                reach: row.get("reach")?.parse().ok()?,
            }),
            _ => None,
        });
        read.ok_or(())
    }
}

async fn slots_of(session: &Session) -> Result<Vec<Slot>, ()> {
    let rows = session.run(SLOTS).await.map_err(drop)?;
    let read = rows.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(Slot {
            name: row.get("slot_name")?.to_owned(),
            at: row.get("at")?.parse().ok()?,
            active: row.get("active")? == "t",
            lost: row.get("lost")? == "t",
        }),
        _ => None,
    });
    Ok(read.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &str, at: u64) -> Slot {
        Slot { name: name.into(), at, ..Slot::default() }
    }

    #[test]
    fn each_instance_has_a_slot_that_the_server_takes() {
        assert_eq!(name_of("a1"), "baton_a1");
        let names = ["A1", "a-1", "a.1", &"x".repeat(63), &"X".repeat(63), &"x".repeat(62)].map(name_of);
        for name in &names {
            assert!(name.len() <= NAME_MAX, "{name}");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            );
        }
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }

    #[test]
    fn a_master_keeps_the_log_for_others_and_not_without_end() {
        let reach = 2 * LIMIT;
        let active = Slot { active: true, ..slot("baton_a2", 1) };
        let lost = Slot { lost: true, ..slot("baton_a5", reach) };
        let slots =
            [slot("baton_a1", reach), active, slot("baton_a3", LIMIT), slot("baton_a4", LIMIT - 1), lost];
        let dropped = ["baton_a1", "baton_a4", "baton_a5"].map(|name| Step::Drop(name.into()));
        assert_eq!(on_master(&slots, "baton_a1", reach), dropped);
    }

    #[test]
    fn a_standby_has_what_its_master_has_and_the_masters_own() {
        let lost = Slot { lost: true, ..slot("baton_a5", 10) };
        let of_master = vec![slot("baton_a2", 70), slot("baton_a3", 80), slot("baton_new", 0), lost];
        let wanted = wanted(of_master, "baton_a1", "baton_a2", 90);
        let expected = [("baton_a1", 90), ("baton_a3", 80)].map(|(name, at)| (name.to_owned(), at));
        assert_eq!(wanted, expected.into());
        let made = on_standby(&[slot("baton_a2", 5)], &wanted, 90);
        assert_eq!(
            made,
            [Step::Drop("baton_a2".into()), Step::Make("baton_a1".into()), Step::Make("baton_a3".into())]
        );
        let there = [slot("baton_a1", 90), slot("baton_a3", 60)];
        assert_eq!(on_standby(&there, &wanted, 90), [Step::Move("baton_a3".into(), 80)]);
        assert_eq!(
            on_standby(&there, &wanted, 70),
            [Step::Move("baton_a3".into(), 70)],
            "no further than itself"
        );
        let gone = [Slot { lost: true, ..slot("baton_a1", 90) }, slot("baton_a3", 80)];
        assert_eq!(
            on_standby(&gone, &wanted, 90),
            [Step::Drop("baton_a1".into())],
            "and made anew next time"
        );
        let used = [slot("baton_a1", 90), Slot { active: true, ..slot("baton_a3", 60) }];
        assert_eq!(on_standby(&used, &wanted, 90), [], "somebody replicates from here");
    }
}
