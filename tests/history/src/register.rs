//! Linearizability of a register: every answer is one that a single copy could have given, at some moment between the request
//! and its answer.
//!
//! No value is written twice, so a history is judged without a search (Gibbons and Korach, *Testing shared memories*, 1997): what
//! was written and who read it form one group for each value. A group whose first answer comes before its last request held the
//! register all the time in between; no two of those may overlap, and no other group may fit wholly inside one.
//!
//! It must not know who answered. A request without an answer is unknown: it may have been carried out, or not, or will be.

use crate::{Moment, WriteId};
use std::collections::BTreeMap;
use std::fmt;

/// Two answers that no single register can have given, for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NotOneRegister(pub String);

impl fmt::Display for NotOneRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotOneRegister {}

/// What a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// To hold this from now on.
    Write(WriteId),
    /// What is held; `None` where nothing was ever written.
    Read(Option<WriteId>),
}

/// One request that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// What was asked; of a read, also what was answered. A read without an answer says nothing and is left out.
    pub asked: Asked,
    /// When it was sent.
    pub sent: Moment,
    /// When its answer came; `None` if none did.
    pub answered: Option<Moment>,
}

/// What is known of one value: when the first answer came that speaks of it, and when the last request was sent.
#[derive(Clone, Copy, Debug)]
struct Group {
    value: Option<WriteId>,
    first_answer: Moment,
    last_request: Moment,
}

impl Group {
    /// From when to when the register held it for sure.
    fn held(&self) -> Option<(Moment, Moment)> {
        (self.first_answer < self.last_request).then_some((self.first_answer, self.last_request))
    }

    fn name(&self) -> String {
        self.value.map_or_else(|| "the begin".to_owned(), |value| value.to_string())
    }
}

/// Whether a history is one of a single register. What was read and never written was written before the history began.
///
/// # Errors
/// Two values that cannot be brought into an order, or a read from the future.
pub fn check_history(operations: &[Operation]) -> Result<(), NotOneRegister> {
    let groups = groups(operations)?;
    let mut held: Vec<(Moment, Moment, &Group)> =
        groups.iter().filter_map(|group| group.held().map(|(from, until)| (from, until, group))).collect();
    held.sort_by_key(|(from, until, _)| (*from, *until));
    for pair in held.windows(2) {
        if let [(_, until, one), (from, _, other)] = pair
            && from < until
        {
            let (one, other, from) = (one.name(), other.name(), from);
            return Err(NotOneRegister(format!("at {from} the register held both {one} and {other}")));
        }
    }
    for group in groups.iter().filter(|group| group.held().is_none()) {
        // Among those that begin before it, the last one reaches furthest: they do not overlap.
        let before = held.partition_point(|(from, _, _)| *from < group.last_request);
        if let Some((_, until, around)) = before.checked_sub(1).and_then(|index| held.get(index))
            && group.first_answer < *until
        {
            let (one, around) = (group.name(), around.name());
            return Err(NotOneRegister(format!("{one} came and went while the register held {around}")));
        }
    }
    Ok(())
}

fn groups(operations: &[Operation]) -> Result<Vec<Group>, NotOneRegister> {
    let never = Moment(u64::MAX);
    let mut writes: BTreeMap<Option<WriteId>, Group> = BTreeMap::new();
    let mut written: BTreeMap<WriteId, Moment> = BTreeMap::new();
    let mut first_read: BTreeMap<WriteId, Moment> = BTreeMap::new();
    // Nothing was written before everything else.
    let begin = Group { value: None, first_answer: Moment(0), last_request: Moment(0) };
    writes.insert(None, begin);
    for operation in operations {
        let value = match operation.asked {
            Asked::Write(value) => {
                written.insert(value, operation.sent);
                Some(value)
            }
            Asked::Read(value) if operation.answered.is_some() => {
                if let (Some(value), Some(at)) = (value, operation.answered) {
                    let first = first_read.entry(value).or_insert(at);
                    *first = at.min(*first);
                }
                value
            }
            Asked::Read(_) => continue,
        };
        let answered = operation.answered.unwrap_or(never);
        let new = Group { value, first_answer: never, last_request: Moment(0) };
        let group = writes.entry(value).or_insert(new);
        group.first_answer = group.first_answer.min(answered);
        group.last_request = group.last_request.max(operation.sent);
    }
    for (value, at) in &first_read {
        if written.get(value).is_some_and(|sent| at < sent) {
            return Err(NotOneRegister(format!("{value} was read at {at}, before it was written")));
        }
    }
    let speaks = |group: &Group| group.first_answer != never;
    Ok(writes.into_values().filter(speaks).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: u64, sent: u64, answered: impl Into<Option<u64>>) -> Operation {
        let answered = answered.into().map(Moment);
        Operation { asked: Asked::Write(WriteId(value)), sent: Moment(sent), answered }
    }

    fn read(value: impl Into<Option<u64>>, sent: u64, answered: u64) -> Operation {
        let asked = Asked::Read(value.into().map(WriteId));
        Operation { asked, sent: Moment(sent), answered: Some(Moment(answered)) }
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)];
        let violation = check_history(&history).expect_err("w1 was overwritten");
        assert_eq!(violation.0, "w2 came and went while the register held w1");
        assert!(check_history(&[write(1, 1, 2), read(None, 3, 4)]).is_err(), "w1 was forgotten");
    }

    #[test]
    fn what_is_read_before_it_is_written_or_twice_at_once_is_found() {
        assert!(check_history(&[read(1, 1, 2), write(1, 3, 4)]).is_err());
        let back = [write(1, 1, 2), write(2, 1, 9), read(2, 3, 4), read(1, 5, 6), read(2, 7, 8)];
        assert!(check_history(&back).is_err(), "w2, w1, w2");
    }

    #[test]
    fn an_unanswered_write_may_come_at_any_time_or_never() {
        let history = [write(1, 1, 2), write(2, 3, None), read(1, 5, 6), read(2, 7, 8)];
        assert_eq!(check_history(&history), Ok(()));
        assert_eq!(check_history(&history[..3]), Ok(()));
        let back = [&history[..], &[read(1, 9, 10)]].concat();
        assert!(check_history(&back).is_err(), "it came, and was gone again");
    }

    /// All orders that respect time, one after the other: slow, and plainly right.
    fn by_search(operations: &[Operation], done: &mut Vec<bool>, held: Option<WriteId>) -> bool {
        let open = |index: usize, done: &[bool]| !done[index];
        if (0..operations.len()).all(|index| done[index] || operations[index].answered.is_none()) {
            return true;
        }
        for index in 0..operations.len() {
            let first = operations.iter().enumerate().all(|(other, operation)| {
                !open(other, done) || operation.answered.is_none_or(|at| operations[index].sent <= at)
            });
            if done[index] || !first {
                continue;
            }
            let after = match operations[index].asked {
                Asked::Write(value) => Some(value),
                Asked::Read(value) if value == held => held,
                Asked::Read(_) => continue,
            };
            done[index] = true;
            let found = by_search(operations, done, after);
            done[index] = false;
            if found {
                return true;
            }
        }
        false
    }

    #[test]
    fn it_judges_small_histories_as_a_search_of_all_orders_does() {
        let mut state = 7_u64;
        let mut below = |most: u64| {
            // Any sequence that looks like no other does; this is the one of Knuth's MMIX.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let writes = 1 + below(3);
            let mut history: Vec<Operation> = (1..=writes)
                .map(|value| {
                    let sent = 1 + 2 * below(8);
                    let answered = (below(4) > 0).then_some(sent + 1 + 2 * below(4));
                    write(value, sent, answered)
                })
                .collect();
            for _ in 0..below(4) {
                let sent = 1 + 2 * below(8);
                let value = below(writes + 1);
                history.push(read((value > 0).then_some(value), sent, sent + 1 + 2 * below(4)));
            }
            let mut done = vec![false; history.len()];
            let expected = by_search(&history, &mut done, None);
            assert_eq!(check_history(&history).is_ok(), expected, "{history:?}");
            if expected { good += 1 } else { bad += 1 }
        }
        assert!(good > 1_000 && bad > 1_000, "{good} good ones, {bad} bad ones");
    }
}
