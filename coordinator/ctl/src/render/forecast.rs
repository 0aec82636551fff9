//! What would become of the cluster if something were lost: a line a set, then who would be chosen and why not the others.

use super::{Palette, drill, line};
use baton_client::forecast::ForecastStatus;
use baton_core::time::Span;

/// Sets that lose nothing are only counted.
#[must_use]
pub fn forecasts(forecasts: &[ForecastStatus], palette: Palette) -> String {
    let mut text = String::new();
    let (idle, touched): (Vec<_>, Vec<_>) = forecasts.iter().partition(|forecast| is_untouched(forecast));
    for forecast in touched {
        line(
            &mut text,
            format_args!("{}  {}", palette.strong(&forecast.replicaset), sentence(forecast, palette)),
        );
        if let Some(short) = forecast.commits_short {
            let short = format!(
                "commits would wait: for {} replicas, and {} would be left",
                short.wait_for, short.left
            );
            line(&mut text, format_args!("  {}", palette.bad(&short)));
        }
        if let Some(lost) = &forecast.may_lose {
            line(&mut text, format_args!("  may be lost: {}", palette.bad(lost)));
        }
        if !forecast.rails.is_empty() {
            drill::rails(&mut text, &forecast.rails, palette);
        }
        for rank in forecast.ranking.iter().filter(|rank| rank.verdict != "chosen") {
            line(&mut text, format_args!("  {}: {}", rank.instance, rank.verdict));
        }
    }
    if !idle.is_empty() {
        line(&mut text, format_args!("{} replica sets would lose nothing", idle.len()));
    }
    text
}

fn is_untouched(forecast: &ForecastStatus) -> bool {
    forecast.fate == "stays" && forecast.lost.is_empty() && forecast.commits_short.is_none()
}

fn sentence(forecast: &ForecastStatus, palette: Palette) -> String {
    let master = forecast.master.as_deref().unwrap_or("nobody");
    let why = forecast.why.as_deref().unwrap_or("it is not known why");
    let lost = forecast.lost.join(", ");
    match forecast.fate.as_str() {
        "stays" => palette.good(&format!("{master} stays master, without {lost}")),
        "goes_on" => palette.good(&format!("{master} goes on by the promises of its in-sync members")),
        "stops" => palette.bad(&format!("{master} stops accepting writes: {why}")),
        "replaced" => {
            let successor = forecast.successor.as_deref().unwrap_or("somebody");
            let within = forecast.within_ms.map(|within| format!(", within {}", Span::from_millis(within)));
            palette.doubtful(&format!("{successor} replaces {master}{}", within.unwrap_or_default()))
        }
        "no_successor" => palette.bad(&format!("nobody replaces {master}: {why}")),
        _ => palette.doubtful("has no active master now: nothing can be said"),
    }
}
