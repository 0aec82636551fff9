//! `[limits]`: one key for each limit, a whole number or a length of time, with bounds beyond which a value can only be a
//! mistake.

use crate::OuterLimits;
use baton_config::value::duration;
use baton_config::{Section, value};
use std::time::Duration;

/// Reads the section; what is not given keeps its default.
pub(super) fn read(section: &mut Section) -> OuterLimits {
    let mut limits = OuterLimits::default();
    let kept = &mut limits.kept;
    let numbers: [(&'static str, &mut usize, std::ops::RangeInclusive<u32>); 19] = [
        ("connections", &mut limits.connections, 1..=1_000_000),
        ("streams_per_connection", &mut limits.streams_per_connection, 1..=1_000_000),
        ("watchers", &mut limits.watchers, 1..=1_000_000),
        ("watcher_lag", &mut limits.watcher_lag, 1..=1_000_000),
        ("requests", &mut limits.requests, 16..=1_000_000),
        ("message_bytes", &mut limits.message_bytes, 4_096..=256 * 1024 * 1024),
        ("header_bytes", &mut limits.header_bytes, 1_024..=1024 * 1024),
        ("name_bytes", &mut limits.name_bytes, 1..=63),
        ("candidates", &mut kept.waiting, 1..=100_000),
        ("records", &mut kept.records, 1..=1_000_000),
        ("members", &mut kept.members, 1..=1_000_000),
        ("members_per_set", &mut kept.members_per_set, 1..=10_000),
        ("changes_per_request", &mut kept.changes_per_request, 1..=100_000),
        ("history_per_set", &mut kept.history_per_set, 1..=10_000),
        ("decision_bytes", &mut kept.decision_bytes, 256..=1024 * 1024),
        ("text_bytes", &mut kept.text_bytes, 64..=64 * 1024),
        ("overrides", &mut kept.overrides, 1..=1_000_000),
        ("tasks", &mut kept.tasks, 1_000..=100_000),
        ("task_bytes", &mut kept.task_bytes, 16_384..=1024 * 1024),
    ];
    for (key, limit, bounds) in numbers {
        if let Some(read) = section.number(key, bounds) {
            *limit = usize::try_from(read.value).unwrap_or(usize::MAX);
        }
    }
    // A watch is resumed from as many updates as it may be behind.
    kept.updates_kept = limits.watcher_lag;
    let times = [
        ("handshake_timeout", &mut limits.handshake_timeout, Duration::from_millis(100)),
        ("idle_timeout", &mut limits.idle_timeout, Duration::from_secs(1)),
        ("request_timeout", &mut limits.request_timeout, Duration::from_secs(1)),
    ];
    for (key, limit, least) in times {
        let Some(read) = section.parsed(key, duration) else { continue };
        if read.value < least || read.value > Duration::from_secs(86_400) {
            let rule = format!("must be between {} and 1day", humantime::format_duration(least));
            let shown = value::quoted(&humantime::format_duration(read.value).to_string());
            section.problem_with(&read, shown, rule);
        } else {
            *limit = read.value;
        }
    }
    limits
}
