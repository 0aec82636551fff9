//! Runs every story of `stories/`. `REWRITE=1` writes what is seen into them: read the difference before it is committed.

use scenario::story::Story;

#[test]
fn every_story_is_told_as_it_happens() {
    datadriven::walk(concat!(env!("CARGO_MANIFEST_DIR"), "/stories"), Story::run);
}
