//! The timeline as a picture: what struck, who led, what was acknowledged by whom, and what was decided, over one axis of time. A
//! pure function from evidence to shapes with coordinates; how they look is the template's business.

mod pen;

use std::collections::BTreeMap;

use crate::evidence::{Asked, Evidence, Fault, Micros, Mode, Operation, Outcome};
use crate::verdict::{Judgement, stale};
use pen::{BUCKET_US, LETTER, Pen, round, short};
pub use pen::{Bar, LEFT, Label, Picture, RIGHT, Shape, WIDTH, seconds, span};

/// How many colours instances have.
const COLOURS: usize = 5;

/// Draws a run.
#[must_use]
pub fn draw(evidence: &Evidence, judgement: &Judgement) -> Picture {
    let mut pen = Pen::new(evidence);
    pen.faults();
    pen.instances(judgement);
    pen.silences(judgement);
    pen.unacknowledged();
    pen.decisions();
    pen.health();
    pen.axis();
    pen.picture
}

/// The colour of an instance.
#[must_use]
pub fn colour(evidence: &Evidence, instance: &str) -> usize {
    let place = evidence.run.instances.iter().position(|name| name == instance);
    place.unwrap_or(COLOURS - 1) % COLOURS
}

impl Pen<'_> {
    fn faults(&mut self) {
        self.caption("Faults");
        for fault in &self.evidence.faults {
            let until = fault.healed_us.unwrap_or(self.end);
            let title = format!(
                "{}\n{}\n{} to {}",
                fault.name,
                fault.what,
                seconds(fault.injected_us),
                seconds(until)
            );
            let bit = fault.bite.as_ref().is_some_and(|bite| bite.bit);
            self.label(LEFT - 10.0, self.y + 12.5, "name", short(&fault.name, 22));
            let class = if bit { "fault" } else { "fault unbitten" };
            self.bar((fault.injected_us, until), self.y + 3.0, 12.0, class.to_owned(), title);
            self.beside(self.x(fault.injected_us), self.x(until), self.y + 12.5, &victims(fault));
            self.y += 19.0;
        }
    }

    fn instances(&mut self, judgement: &Judgement) {
        let waited = match self.evidence.run.mode {
            Mode::Sync => "no replica confirmed any",
            Mode::Async => "none was",
        };
        self.caption(&format!(
            "Who leads, and writes acknowledged per {} (grey: {waited})",
            self.picture.bucket
        ));
        self.writes_top = self.y;
        let buckets = self.buckets(|operation| {
            let write = matches!(operation.op, Asked::Append | Asked::Write);
            (write && operation.outcome == Outcome::Ok).then_some(operation.instance.as_str())
        });
        let most = buckets.values().flat_map(BTreeMap::values).copied().max().unwrap_or(1).max(1);
        let found = stale::find(self.evidence);
        let instances = self.evidence.run.instances.clone();
        for instance in &instances {
            let colour = colour(self.evidence, instance);
            self.label(LEFT - 10.0, self.y + 12.0, "name strong", instance.clone());
            self.reigns(instance, colour);
            let empty = BTreeMap::new();
            let own = buckets.get(instance.as_str()).unwrap_or(&empty);
            let sum: u64 = own.values().sum();
            self.label(LEFT - 10.0, self.y + 27.0, "name faint", format!("{sum} writes"));
            let floor = self.y + 56.0;
            let title =
                format!("{instance}: {sum} writes acknowledged, at most {most} in {}", self.picture.bucket);
            let d = self.steps(own, most, floor, 36.0);
            self.picture.shapes.push(Shape { d, class: format!("writes c{colour}"), title });
            self.line(floor);
            for (kind, operations) in [("stale", &found.stale), ("woken", &found.woken)] {
                for operation in operations.iter().filter(|operation| operation.instance == *instance) {
                    let x = self.x(operation.end());
                    let d = format!("M{x} {} l4 8 h-8 z", round(floor - 9.0));
                    let title = format!("{kind} write on {instance} at {}", seconds(operation.end()));
                    self.picture.shapes.push(Shape { d, class: format!("mark {kind}"), title });
                }
            }
            self.y += 66.0;
        }
        let counts = &judgement.counts;
        if counts.stale_writes + counts.woken_writes > 0 {
            let text = format!("▲ {} stale · {} woken", counts.stale_writes, counts.woken_writes);
            self.label(RIGHT, self.writes_top - 6.0, "key end", text);
        }
    }

    /// When an instance was master: pale from the appointment on, full from when it was known to accept writes.
    fn reigns(&mut self, instance: &str, colour: usize) {
        let reigns = stale::reigns(self.evidence);
        let begins: Vec<(u64, Micros)> =
            reigns.iter().map(|(term, reign)| (*term, reign.known_from.0)).collect();
        for (term, reign) in &reigns {
            if &*reign.master != instance {
                continue;
            }
            let next = begins.iter().find(|(other, _)| other > term).map_or(self.end, |(_, at)| *at);
            let active = self
                .evidence
                .masters
                .iter()
                .filter(|sighting| sighting.term == *term)
                .filter_map(|sighting| sighting.active_us)
                .min();
            let active = active.unwrap_or(next).clamp(reign.known_from.0, next);
            let appointed = reign.known_from.0;
            let title = format!(
                "{instance} leads at term {term}\nappointed at {}, active at {}, until {}",
                seconds(appointed),
                seconds(active),
                seconds(next)
            );
            if active > appointed {
                self.bar(
                    (appointed, active),
                    self.y + 2.0,
                    13.0,
                    format!("reign pale c{colour}"),
                    title.clone(),
                );
            }
            if next > active {
                self.bar((active, next), self.y + 2.0, 13.0, format!("reign c{colour}"), title);
            }
            let text = format!("term {term}");
            if self.x(next) - self.x(active) > text.len() as f64 * LETTER + 8.0 {
                let x = self.x(active) + 6.0;
                self.label(x, self.y + 12.0, "onreign", text);
            }
        }
    }

    /// The silences that clients saw, across all instances.
    fn silences(&mut self, judgement: &Judgement) {
        let (top, bottom) = (self.writes_top, self.y);
        for outage in &judgement.outages {
            let Some(took) = outage.took_us.filter(|took| *took >= BUCKET_US) else { continue };
            let class = if outage.is_over() { "silence over" } else { "silence" };
            let title = format!(
                "{}: {} without service, {} allowed",
                outage.name,
                span(took),
                outage.allowed_us.map_or_else(|| "any".to_owned(), span)
            );
            let reach = (outage.from_us, outage.from_us + took);
            self.bar(reach, top, bottom - top - 4.0, class.to_owned(), title);
            // Behind everything else.
            self.picture.bars.rotate_right(1);
            let x = f64::midpoint(self.x(reach.0), self.x(reach.1));
            let wide = self.x(reach.1) - self.x(reach.0);
            let taken =
                self.picture.labels.iter().any(|label| label.class == "silent" && (label.x - x).abs() < 60.0);
            if wide > 20.0 && !taken {
                self.label(x.clamp(LEFT + 30.0, RIGHT - 30.0), top + 30.0, "silent", span(took));
            }
        }
    }

    fn unacknowledged(&mut self) {
        self.caption("Requests of routers that were not acknowledged");
        let routed = |operation: &Operation| operation.is_routed();
        let failed = self.buckets(|operation| {
            (routed(operation) && operation.outcome == Outcome::Failed).then_some("refused")
        });
        let unknown = self.buckets(|operation| {
            (routed(operation) && operation.outcome == Outcome::Unknown).then_some("unanswered")
        });
        let peak = |found: &BTreeMap<&str, BTreeMap<u64, u64>>| {
            found.values().flat_map(BTreeMap::values).copied().max().unwrap_or(0)
        };
        let most = peak(&failed).max(peak(&unknown)).max(4);
        for (name, found, class) in [
            ("refused", failed.get("refused"), "refused"),
            ("unanswered", unknown.get("unanswered"), "unanswered"),
        ] {
            let empty = BTreeMap::new();
            let own = found.unwrap_or(&empty);
            let sum: u64 = own.values().sum();
            self.label(LEFT - 10.0, self.y + 14.0, "name", format!("{sum} {name}"));
            let floor = self.y + 18.0;
            let d = self.steps(own, most, floor, 16.0);
            let title = format!("{sum} {name}, at most {most} in {}", self.picture.bucket);
            self.picture.shapes.push(Shape { d, class: class.to_owned(), title });
            self.line(floor);
            self.y += 23.0;
        }
    }

    fn decisions(&mut self) {
        self.caption("Decisions");
        let reigns = stale::reigns(self.evidence);
        // Where the last word of each of the two rows ends.
        let mut rows = [LEFT, LEFT];
        let mut used = 0;
        for (term, reign) in &reigns {
            // The lowest version is the appointment itself; later ones say why the record was changed since.
            let of_term = self.evidence.masters.iter().filter(|sighting| sighting.term == *term);
            let appointment = of_term.filter(|sighting| sighting.reason.is_some());
            let reason = appointment
                .min_by_key(|sighting| sighting.version.unwrap_or(u64::MAX))
                .and_then(|sighting| sighting.reason.clone())
                .unwrap_or_default();
            let x = self.x(reign.known_from.0);
            let text = format!(
                "{term}: {}{}",
                reign.master,
                if reason.is_empty() { String::new() } else { format!(", {reason}") }
            );
            let wide = text.chars().count() as f64 * LETTER + 14.0;
            let row = usize::from(rows[0] > x && rows[1] <= x);
            used = used.max(row);
            let y = self.y + 10.0 + row as f64 * 17.0;
            let colour = colour(self.evidence, &reign.master);
            let title = format!(
                "term {term}: {} is appointed at {} ({reason})",
                reign.master,
                seconds(reign.known_from.0)
            );
            let d = format!("M{x} {} l5 5 l-5 5 l-5 -5 z", round(y - 5.0));
            self.picture.shapes.push(Shape { d, class: format!("decision c{colour}"), title });
            if x + wide < RIGHT && rows[row] <= x {
                self.label(x + 9.0, y + 4.0, "beside", text);
                rows[row] = x + wide;
            } else if x - wide > rows[row] {
                self.label(x - 9.0, y + 4.0, "beside left", text);
                rows[row] = x + 9.0;
            }
        }
        self.y += 20.0 + used as f64 * 17.0;
    }

    fn health(&mut self) {
        if self.evidence.health.is_empty() {
            return;
        }
        self.y += 6.0;
        self.label(LEFT - 10.0, self.y + 9.0, "name", "all is well");
        let samples = &self.evidence.health;
        let mut from = 0;
        for (index, sample) in samples.iter().enumerate() {
            let next = samples.get(index + 1);
            if next.is_some_and(|next| next.healthy == sample.healthy && next.issues == sample.issues) {
                continue;
            }
            let begin = samples.get(from).map_or(0, |first| first.at_us);
            let until = next.map_or(self.end, |next| next.at_us);
            let class = if sample.healthy { "well" } else { "ill" };
            let title = if sample.healthy { "all is well".to_owned() } else { sample.issues.join("\n") };
            self.bar((begin, until), self.y + 2.0, 7.0, class.to_owned(), title);
            from = index + 1;
        }
        self.y += 14.0;
    }
}

fn victims(fault: &Fault) -> String {
    short(&fault.targets.join(", "), 40)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::samples::{BACK, STRUCK, direct, failover};
    use crate::verdict::judge;

    fn drawn(evidence: &Evidence) -> Picture {
        draw(evidence, &judge(evidence))
    }

    fn bars<'a>(picture: &'a Picture, class: &str) -> Vec<&'a Bar> {
        picture.bars.iter().filter(|bar| bar.class == class).collect()
    }

    /// Where a moment of the sample, which is 10.2 s long, lies on the axis.
    fn x(at: Micros) -> f64 {
        LEFT + (RIGHT - LEFT) * at as f64 / 10_200_000.0
    }

    #[test]
    fn faults_reigns_and_silences_lie_where_they_were() {
        let picture = drawn(&failover());
        let fault = bars(&picture, "fault")[0];
        assert!(
            (fault.x - x(STRUCK)).abs() < 0.2 && (fault.x + fault.w - x(6_000_000)).abs() < 0.2,
            "{fault:?}"
        );
        let (first, second) = (bars(&picture, "reign c0")[0], bars(&picture, "reign c1")[0]);
        assert!((first.x + first.w - x(BACK - 32_000)).abs() < 0.2, "{first:?}");
        assert!(
            (second.x - x(BACK - 30_000)).abs() < 0.2 && second.x + second.w <= RIGHT + 0.1,
            "{second:?}"
        );
        let silence = bars(&picture, "silence")[0];
        assert!((silence.x - x(1_992_000)).abs() < 0.2, "{silence:?}");
        assert!(picture.labels.iter().any(|label| label.class == "silent" && label.text == "3.21 s"));
        assert!(picture.labels.iter().any(|label| label.text == "2: b1, silent"));
    }

    #[test]
    fn everything_stays_inside_the_picture() {
        let picture = drawn(&failover());
        for bar in &picture.bars {
            assert!(bar.x >= LEFT && bar.x + bar.w <= WIDTH && bar.y + bar.h <= picture.height, "{bar:?}");
        }
        for label in &picture.labels {
            assert!(label.x >= 0.0 && label.x <= WIDTH && label.y <= picture.height, "{label:?}");
        }
    }

    #[test]
    fn a_stale_write_is_marked_on_its_instance() {
        let mut evidence = failover();
        evidence.history.push(direct(7_000, "a1", BACK + 1_000_000, BACK + 1_000_200, Outcome::Ok));
        let marks =
            |picture: &Picture| picture.shapes.iter().filter(|shape| shape.class == "mark stale").count();
        assert_eq!((marks(&drawn(&failover())), marks(&drawn(&evidence))), (0, 1));
    }

    #[test]
    fn a_fault_that_did_not_bite_or_end_is_drawn_as_such() {
        let mut evidence = failover();
        evidence.faults[0].healed_us = None;
        evidence.faults[0].bite = None;
        let picture = drawn(&evidence);
        let fault = bars(&picture, "fault unbitten")[0];
        assert!((fault.x + fault.w - RIGHT).abs() < 0.2, "{fault:?}");
    }

    #[test]
    fn a_long_run_gets_wider_buckets_and_fewer_ticks() {
        let mut evidence = failover();
        evidence.ending.as_mut().expect("it ended").ended_us = 3_600_000_000;
        let picture = drawn(&evidence);
        assert!(picture.bucket.ends_with('s') && picture.bucket != "100 ms", "{}", picture.bucket);
        assert!((3..=15).contains(&picture.grid.len()), "{}", picture.grid.len());
    }

    #[test]
    fn nothing_at_all_is_drawn_without_a_panic() {
        let mut evidence = failover();
        evidence.history.clear();
        evidence.faults.clear();
        evidence.masters.clear();
        evidence.health.clear();
        evidence.ending = None;
        evidence.run.instances.clear();
        assert!(drawn(&evidence).height > 0.0);
    }

    #[test]
    fn lengths_are_told_as_people_tell_them() {
        assert_eq!([span(8_400), span(3_209_600), span(83_000_000)], ["8 ms", "3.21 s", "1 min 23 s"]);
    }
}
