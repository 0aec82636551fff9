//! What operators asked for: who may change it, and from what.

use crate::driver::Driver;
use baton_board::{LockToken, Reply, Request, TaskOutcome, WriteOutcome};
use baton_core::ids::{TaskId, Version};
use baton_core::task::StoredTask;

fn put(driver: &mut Driver, token: LockToken, expected: Option<u64>, body: &str) -> TaskOutcome {
    let task = StoredTask { id: TaskId(7), body: body.to_owned(), version: Version(99) };
    let request = Request::PutTask { token, expected: expected.map(Version), task: Box::new(task) };
    let id = driver.ask(request);
    match driver.reply(id) {
        Some(Reply::Task(outcome)) => outcome.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_changes_only_under_the_current_epoch_and_from_its_version() {
    let mut driver = Driver::new();
    driver.campaign(1, "host-a", None);
    let (first, _) = driver.grant(1).expect("free");
    assert!(matches!(put(&mut driver, first, None, "planned"), TaskOutcome::Applied(_)));
    let kept = StoredTask { id: TaskId(7), body: "planned".into(), version: Version(1) };
    let shown = TaskOutcome::Conflict(Some(Box::new(kept)));
    assert_eq!(put(&mut driver, first, None, "again"), shown);
    assert_eq!(put(&mut driver, first, Some(2), "later"), shown);
    driver.close(1);
    driver.campaign(2, "host-b", None);
    let (second, _) = driver.grant(2).expect("freed by the end of the connection");
    let stale = TaskOutcome::StaleEpoch(second.epoch);
    assert_eq!(put(&mut driver, first, Some(1), "late"), stale);
    let id = driver.ask(Request::RemoveTask { token: first, id: TaskId(7) });
    let answer = driver.reply(id).cloned();
    assert_eq!(answer, Some(Reply::Written(WriteOutcome::StaleEpoch(second.epoch))));
    assert!(matches!(put(&mut driver, second, Some(1), "running"), TaskOutcome::Applied(_)));
    let there = driver.disk.tasks.get(&TaskId(7)).map(|task| (task.body.as_str(), task.version.0));
    assert_eq!(there, Some(("running", 2)));
}
