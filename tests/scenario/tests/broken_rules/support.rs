//! What the scripts share.

use baton_core::guard::Guard;
use baton_core::ids::Term;
use baton_core::time::Span;
use scenario::fixtures::name;
use scenario::world::World;

/// Lets time pass, a tenth of a millisecond at a time, until `come` or for ten seconds.
pub fn until(world: &mut World, come: impl Fn(&World) -> bool) {
    for _ in 0..100_000 {
        if come(world) || world.violation().is_some() {
            return;
        }
        world.advance(Span(100));
    }
    let (lines, _) = world.take_lines();
    panic!("what the script waits for never comes:\n{}", lines.join("\n"));
}

pub fn guard<'a>(world: &'a World, instance: &str) -> &'a Guard {
    world.nodes[&name(instance)].guard.as_ref().expect("the guard runs")
}

pub fn leads(world: &World, instance: &str) -> bool {
    guard(world, instance).right_until().is_some()
}

pub fn recorded(world: &World, term: u64) -> bool {
    world.provider.record().is_some_and(|record| record.term == Term(term))
}

pub fn host<'a>(world: &'a mut World, instance: &str) -> &'a mut scenario::world::Node {
    world.nodes.get_mut(&name(instance)).expect("it is in the world")
}
