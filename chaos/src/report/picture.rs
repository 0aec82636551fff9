//! The timeline as a picture: what struck, who led, what was acknowledged by whom, and what was decided, over one axis of time. A
//! pure function from evidence to shapes with coordinates; how they look is the template's business.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::evidence::{Asked, Evidence, Fault, Micros, Mode, Operation, Outcome};
use crate::verdict::{Judgement, end_of, stale};

/// The whole width.
pub const WIDTH: f64 = 1160.0;
/// Where the plot begins; left of it stand the names.
pub const LEFT: f64 = 158.0;
/// Where it ends.
pub const RIGHT: f64 = WIDTH - 18.0;
/// How many colours instances have.
const COLOURS: usize = 5;
/// Finest buckets of writes.
const BUCKET_US: Micros = 100_000;
/// Narrowest bucket that can be seen.
const BUCKET_PIXELS: f64 = 1.4;
/// How wide a letter of a label is, about.
const LETTER: f64 = 6.4;

/// A rectangle.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Left.
    pub x: f64,
    /// Top.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
    /// How it looks.
    pub class: String,
    /// What it is, for whoever points at it.
    pub title: String,
}

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Where.
    pub x: f64,
    /// Its baseline.
    pub y: f64,
    /// How it looks.
    pub class: &'static str,
    /// What it says.
    pub text: String,
}

/// A shape of any form.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Its outline.
    pub d: String,
    /// How it looks.
    pub class: String,
    /// What it is.
    pub title: String,
}

/// Everything that is drawn, from back to front.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Its height.
    pub height: f64,
    /// Vertical lines of the axis.
    pub grid: Vec<f64>,
    /// Where the plot begins and ends from top to bottom.
    pub top: f64,
    /// See `top`.
    pub bottom: f64,
    /// Rectangles.
    pub bars: Vec<Bar>,
    /// Other shapes.
    pub shapes: Vec<Shape>,
    /// Words.
    pub labels: Vec<Label>,
    /// What one bucket of writes covers, in words.
    pub bucket: String,
}

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

struct Pen<'a> {
    evidence: &'a Evidence,
    end: Micros,
    bucket: Micros,
    y: f64,
    writes_top: f64,
    picture: Picture,
}

impl<'a> Pen<'a> {
    fn new(evidence: &'a Evidence) -> Self {
        let end = end_of(evidence).max(1_000_000);
        let finest = end as f64 / ((RIGHT - LEFT) / BUCKET_PIXELS);
        let bucket = BUCKET_US * ((finest / BUCKET_US as f64).ceil() as Micros).max(1);
        let picture = Picture { top: 6.0, bucket: span(bucket), ..Picture::default() };
        Self { evidence, end, bucket, y: 6.0, writes_top: 0.0, picture }
    }

    fn x(&self, at: Micros) -> f64 {
        round(LEFT + (RIGHT - LEFT) * at.min(self.end) as f64 / self.end as f64)
    }

    fn label(&mut self, x: f64, y: f64, class: &'static str, text: impl Into<String>) {
        self.picture.labels.push(Label { x: round(x), y: round(y), class, text: text.into() });
    }

    fn bar(&mut self, (from, to): (Micros, Micros), y: f64, h: f64, class: String, title: String) {
        let (x, right) = (self.x(from), self.x(to));
        // What took no time is seen all the same.
        let w = round((right - x).max(3.0));
        self.picture.bars.push(Bar { x, y: round(y), w, h, class, title });
    }

    fn caption(&mut self, text: &str) {
        self.y += 22.0;
        self.label(6.0, self.y, "caption", text);
        self.y += 7.0;
    }

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

    /// A word behind a bar, before it, or in it, where there is room.
    fn beside(&mut self, from: f64, to: f64, y: f64, text: &str) {
        let wide = text.chars().count() as f64 * LETTER;
        if to + 8.0 + wide < RIGHT {
            self.label(to + 7.0, y, "beside", text);
        } else if from - 8.0 - wide > LEFT {
            self.label(from - 7.0, y, "beside left", text);
        } else {
            self.label(from + 7.0, y, "inside", text);
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

    fn axis(&mut self) {
        self.y += 6.0;
        self.picture.bottom = self.y;
        let step = tick(self.end);
        let mut at = 0;
        while at <= self.end {
            let x = self.x(at);
            self.picture.grid.push(x);
            let text = if step >= 1_000_000 {
                format!("{} s", at / 1_000_000)
            } else {
                format!("{:.1} s", at as f64 / 1e6)
            };
            self.label(x, self.y + 15.0, "tick", text);
            at += step;
        }
        self.picture.height = self.y + 24.0;
    }

    fn line(&mut self, y: f64) {
        let d = format!("M{LEFT} {} H{RIGHT}", round(y));
        self.picture.shapes.push(Shape { d, class: "floor".to_owned(), title: String::new() });
    }

    /// How many operations ended in each bucket, for each name that `of` gives.
    fn buckets(
        &self,
        of: impl Fn(&'a Operation) -> Option<&'a str>,
    ) -> BTreeMap<&'a str, BTreeMap<u64, u64>> {
        let mut found: BTreeMap<&str, BTreeMap<u64, u64>> = BTreeMap::new();
        for operation in &self.evidence.history {
            if let Some(name) = of(operation) {
                *found.entry(name).or_default().entry(operation.end() / self.bucket).or_default() +=
                    operation.times;
            }
        }
        found
    }

    /// Columns on a floor, as one outline.
    fn steps(&self, buckets: &BTreeMap<u64, u64>, most: u64, floor: f64, height: f64) -> String {
        let mut d = String::new();
        for (bucket, count) in buckets {
            let (x, right) = (self.x(bucket * self.bucket), self.x((bucket + 1) * self.bucket));
            let h = round(height * *count as f64 / most as f64).max(1.0);
            let gap = if right - x > 4.0 { 1.0 } else { 0.0 };
            // Writing to a string cannot fail.
            let _ = write!(
                d,
                "M{x} {} h{} v-{h} h-{} z",
                round(floor),
                round(right - x - gap),
                round(right - x - gap)
            );
        }
        d
    }
}

fn victims(fault: &Fault) -> String {
    short(&fault.targets.join(", "), 40)
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{kept}…")
}

/// Between two lines of the axis.
fn tick(end: Micros) -> Micros {
    const STEPS: [Micros; 12] = [
        100_000,
        200_000,
        500_000,
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        20_000_000,
        30_000_000,
        60_000_000,
        300_000_000,
        1_800_000_000,
    ];
    STEPS.into_iter().find(|step| end / step <= 14).unwrap_or(7_200_000_000)
}

/// A tenth of a pixel is as fine as a screen shows.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A moment, for people.
#[must_use]
pub fn seconds(at: Micros) -> String {
    format!("{:.2} s", at as f64 / 1e6)
}

/// A length of time, for people.
#[must_use]
pub fn span(length: Micros) -> String {
    match length {
        0..1_000_000 => format!("{} ms", (length as f64 / 1e3).round()),
        1_000_000..60_000_000 => format!("{:.2} s", length as f64 / 1e6),
        _ => format!("{} min {:.0} s", length / 60_000_000, (length % 60_000_000) as f64 / 1e6),
    }
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
