//! A time as a person types it: `2026-11-22T03:00:00Z`, `03:00` (the next one, in UTC), `+10m`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub u64);

/// For the command line.
pub(super) fn parse(text: &str) -> Result<At, String> {
    parse_from(text, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn parse_from(text: &str, now: Duration) -> Result<At, String> {
    const RULE: &str = "write it as 2026-11-22T03:00:00Z, as 03:00 (the next such, in UTC) or as +10m";
    let at = if let Some(span) = text.strip_prefix('+') {
        let span = humantime::parse_duration(span).map_err(|error| format!("{error}; {RULE}"))?;
        now.checked_add(span)
    } else if let Some(of_day) = time_of_day(text) {
        let today = Duration::from_secs(now.as_secs() / DAY * DAY + of_day);
        Some(if today < now { today + Duration::from_secs(DAY) } else { today })
    } else {
        rfc3339(text)
    };
    let at = at.ok_or_else(|| format!("it is no time; {RULE}"))?;
    u64::try_from(at.as_millis()).map(At).map_err(|_| format!("it is too far ahead; {RULE}"))
}

/// Seconds since midnight of `HH:MM`.
fn time_of_day(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, end: u64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number < end)
    };
    Some(number(hours, 24)? * HOUR + number(minutes, 60)? * MINUTE)
}

/// With `Z` or an offset such as `+02:00`: a time without one would be read as another by somebody.
fn rfc3339(text: &str) -> Option<Duration> {
    let utc = |text: &str| humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok();
    if text.ends_with('Z') {
        return utc(text);
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let offset = Duration::from_secs(time_of_day(offset)?);
    let local = utc(&format!("{local}Z"))?;
    match sign {
        "+" => local.checked_sub(offset),
        "-" => local.checked_add(offset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T02:30:00Z.
    const NOW: Duration = Duration::from_secs(1_795_314_600);

    fn shown(text: &str) -> Result<String, String> {
        parse_from(text, NOW).map(|at| baton_client::status::rfc3339(at.0))
    }

    #[test]
    fn every_way_to_write_a_time_is_read() {
        for (text, wanted) in [
            ("+10m", "2026-11-22T02:40:00.000Z"),
            ("03:00", "2026-11-22T03:00:00.000Z"),
            ("02:30", "2026-11-22T02:30:00.000Z"),
            ("02:29", "2026-11-23T02:29:00.000Z"),
            ("2026-12-01T03:00:00Z", "2026-12-01T03:00:00.000Z"),
            ("2026-12-01T03:00:00.5+02:00", "2026-12-01T01:00:00.500Z"),
            ("2026-11-30T22:00:00-05:30", "2026-12-01T03:30:00.000Z"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_could_mean_two_times_is_refused() {
        for bad in [
            "",
            "3:00",
            "24:00",
            "03:60",
            "10m",
            "+",
            "+10",
            "tomorrow",
            "2026-12-01T03:00:00",
            "2026-12-01",
            "+584942417355y",
        ] {
            assert!(
                shown(bad).is_err_and(|error| error.contains("write it as")),
                "{bad:?}: {:?}",
                shown(bad)
            );
        }
    }
}
