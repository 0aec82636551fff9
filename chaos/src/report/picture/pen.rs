//! The pen: what a picture is made of, where a moment lies on its axis, and how a bar, a word or a row of columns is put there. It
//! must not know what any of them means.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::evidence::{Evidence, Micros, Operation};
use crate::verdict::end_of;

/// The whole width.
pub const WIDTH: f64 = 1160.0;
/// Where the plot begins; left of it stand the names.
pub const LEFT: f64 = 158.0;
/// Where it ends.
pub const RIGHT: f64 = WIDTH - 18.0;
/// Finest buckets of writes.
pub(super) const BUCKET_US: Micros = 100_000;
/// Narrowest bucket that can be seen.
const BUCKET_PIXELS: f64 = 1.4;
/// How wide a letter of a label is, about.
pub(super) const LETTER: f64 = 6.4;

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

/// Draws from top to bottom; `y` is how far it has come.
pub(super) struct Pen<'a> {
    /// Of the run that is drawn.
    pub(super) evidence: &'a Evidence,
    /// Of the axis.
    pub(super) end: Micros,
    /// How long one column of writes is.
    pub(super) bucket: Micros,
    /// The top of what comes next.
    pub(super) y: f64,
    /// Where the instances begin.
    pub(super) writes_top: f64,
    /// What it has drawn.
    pub(super) picture: Picture,
}

impl<'a> Pen<'a> {
    pub(super) fn new(evidence: &'a Evidence) -> Self {
        let end = end_of(evidence).max(1_000_000);
        let finest = end as f64 / ((RIGHT - LEFT) / BUCKET_PIXELS);
        let bucket = BUCKET_US * ((finest / BUCKET_US as f64).ceil() as Micros).max(1);
        let picture = Picture { top: 6.0, bucket: span(bucket), ..Picture::default() };
        Self { evidence, end, bucket, y: 6.0, writes_top: 0.0, picture }
    }

    pub(super) fn x(&self, at: Micros) -> f64 {
        round(LEFT + (RIGHT - LEFT) * at.min(self.end) as f64 / self.end as f64)
    }

    pub(super) fn label(&mut self, x: f64, y: f64, class: &'static str, text: impl Into<String>) {
        self.picture.labels.push(Label { x: round(x), y: round(y), class, text: text.into() });
    }

    pub(super) fn bar(&mut self, (from, to): (Micros, Micros), y: f64, h: f64, class: String, title: String) {
        let (x, right) = (self.x(from), self.x(to));
        // What took no time is seen all the same.
        let w = round((right - x).max(3.0));
        self.picture.bars.push(Bar { x, y: round(y), w, h, class, title });
    }

    pub(super) fn caption(&mut self, text: &str) {
        self.y += 22.0;
        self.label(6.0, self.y, "caption", text);
        self.y += 7.0;
    }

    /// A word behind a bar, before it, or in it, where there is room.
    pub(super) fn beside(&mut self, from: f64, to: f64, y: f64, text: &str) {
        let wide = text.chars().count() as f64 * LETTER;
        if to + 8.0 + wide < RIGHT {
            self.label(to + 7.0, y, "beside", text);
        } else if from - 8.0 - wide > LEFT {
            self.label(from - 7.0, y, "beside left", text);
        } else {
            self.label(from + 7.0, y, "inside", text);
        }
    }

    pub(super) fn axis(&mut self) {
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

    pub(super) fn line(&mut self, y: f64) {
        let d = format!("M{LEFT} {} H{RIGHT}", round(y));
        self.picture.shapes.push(Shape { d, class: "floor".to_owned(), title: String::new() });
    }

    /// How many operations ended in each bucket, for each name that `of` gives.
    pub(super) fn buckets(
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
    pub(super) fn steps(&self, buckets: &BTreeMap<u64, u64>, most: u64, floor: f64, height: f64) -> String {
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

pub(super) fn short(text: &str, most: usize) -> String {
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
pub(super) fn round(value: f64) -> f64 {
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
