//! What is done before a master is fenced by plan: an engine that can only be fenced by ending it (PostgreSQL) writes all that changed
//! since its last checkpoint as it ends, and would be killed for taking that long. So it does that first, while it still leads.
//!
//! The arbiter's order waits here meanwhile, like one that is late; any other order takes its place. Where the order came for other
//! reasons than a plan, the right runs out as ever.

use baton_core::guard::Input;
use baton_core::ids::InstanceName;
use baton_core::message::{Order, ToGuard};
use baton_engine::EngineKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long it may take until an order counts as it is.
const FOR_AN_ORDER: Duration = Duration::from_secs(60);
/// How long until the daemon ends all the same, which waits for its guards for twice that.
const FOR_LEAVING: Duration = Duration::from_secs(5);
/// For how long it does not have to be done again.
const LASTS: Duration = Duration::from_secs(10);

/// What happens once it is done.
#[derive(Debug)]
pub(super) enum Then {
    /// The arbiter's order is heard.
    Hear(Box<ToGuard>),
    /// The daemon ends.
    Leave,
}

impl Then {
    fn patience(&self) -> Duration {
        match self {
            Self::Hear(_) => FOR_AN_ORDER,
            Self::Leave => FOR_LEAVING,
        }
    }
}

struct UnderWay {
    task: JoinHandle<Result<(), String>>,
    then: Then,
    until: Instant,
}

/// See the module.
pub(super) struct Preparation {
    kind: Arc<dyn EngineKind>,
    instance: InstanceName,
    under_way: Option<UnderWay>,
    done: Option<Instant>,
}

impl Drop for Preparation {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Preparation {
    pub(super) fn new(kind: &Arc<dyn EngineKind>, instance: &InstanceName) -> Self {
        Self { kind: Arc::clone(kind), instance: instance.clone(), under_way: None, done: None }
    }

    /// A message of the arbiter's, unless it waits. `leads`: there is something to prepare.
    pub(super) fn heard(&mut self, message: ToGuard, leads: bool) -> Option<Input> {
        let ToGuard::Directive(directive) = &message else { return Some(Input::FromArbiter(message)) };
        if directive.order != Order::Relinquish {
            if !self.is_leaving() {
                self.forget();
            }
            return Some(Input::FromArbiter(message));
        }
        match self.begin(leads, Then::Hear(Box::new(message))) {
            Err(Then::Hear(message)) => Some(Input::FromArbiter(*message)),
            Ok(()) | Err(Then::Leave) => None,
        }
    }

    /// Whether the end of the daemon waits from now on.
    pub(super) fn holds_leaving(&mut self, leads: bool) -> bool {
        self.begin(leads, Then::Leave).is_ok()
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| matches!(under_way.then, Then::Leave))
    }

    /// Begins, or goes on for another reason; `Err` where there is nothing to wait for.
    fn begin(&mut self, leads: bool, then: Then) -> Result<(), Then> {
        let lasts = self.done.is_some_and(|done| done.elapsed() < LASTS);
        if !leads || lasts || !self.kind.is_prepared_for_fence() {
            return Err(then);
        }
        if self.is_leaving() {
            return Ok(());
        }
        let until = Instant::now() + then.patience();
        if let Some(under_way) = &mut self.under_way {
            under_way.until = under_way.until.min(until);
            under_way.then = then;
            return Ok(());
        }
        tracing::info!(instance = %self.instance, "the engine writes what it has not written yet, before it is fenced");
        let kind = Arc::clone(&self.kind);
        let task = tokio::spawn(async move { kind.prepare_for_fence().await });
        self.under_way = Some(UnderWay { task, then, until });
        Ok(())
    }

    /// Waits for the end of what is under way.
    pub(super) async fn finished(&mut self) -> Then {
        let ended = match &mut self.under_way {
            Some(under_way) => tokio::time::timeout_at(under_way.until, &mut under_way.task).await,
            None => std::future::pending().await,
        };
        let why = match ended {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(why))) => Some(why),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it takes too long".to_owned()),
        };
        if let Some(why) = why {
            let instance = &self.instance;
            tracing::warn!(%instance, why, "not prepared for the fence, which may take so long that the engine is killed");
        }
        self.done = Some(Instant::now());
        let then = self.forget();
        match then {
            Some(then) => then,
            None => std::future::pending().await,
        }
    }

    fn forget(&mut self) -> Option<Then> {
        let UnderWay { task, then, .. } = self.under_way.take()?;
        // Of no effect where it has ended.
        task.abort();
        Some(then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_core::ids::{Epoch, Incarnation, Term, Version};
    use baton_core::message::Directive;

    /// An engine that is prepared when it is told so.
    #[derive(Debug, Default)]
    struct Slow(tokio::sync::Notify, bool);

    #[async_trait::async_trait]
    impl EngineKind for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }
        fn fenced_command(&self, command: &[String]) -> Vec<String> {
            command.to_vec()
        }
        fn is_prepared_for_fence(&self) -> bool {
            !self.1
        }
        async fn prepare_for_fence(&self) -> Result<(), String> {
            self.0.notified().await;
            Ok(())
        }
        async fn connect(
            &self,
            timeout: Duration,
        ) -> Result<Box<dyn baton_engine::EngineConnection>, baton_engine::ConnectError> {
            Err(baton_engine::ConnectError::TimedOut { endpoint: String::new(), timeout })
        }
    }

    fn directive(order: Order) -> ToGuard {
        let (incarnation, epoch) = (Incarnation::default(), Epoch::default());
        ToGuard::Directive(Directive { incarnation, epoch, version: Version(1), term: Term(1), order })
    }

    fn preparation(kind: Slow) -> (Arc<Slow>, Preparation) {
        let slow = Arc::new(kind);
        let kind: Arc<dyn EngineKind> = Arc::clone(&slow) as _;
        (slow, Preparation::new(&kind, &InstanceName::parse("a1").expect("a name")))
    }

    fn is_heard(input: Option<Input>) -> bool {
        matches!(input, Some(Input::FromArbiter(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn the_order_to_relinquish_waits_and_the_next_one_does_not() {
        let (slow, mut preparation) = preparation(Slow::default());
        assert!(!is_heard(preparation.heard(directive(Order::Relinquish), true)));
        assert!(!is_heard(preparation.heard(directive(Order::Relinquish), true)), "it is repeated");
        slow.0.notify_one();
        assert!(matches!(preparation.finished().await, Then::Hear(_)));
        assert!(is_heard(preparation.heard(directive(Order::Relinquish), true)), "just prepared");
        tokio::time::advance(LASTS).await;
        assert!(!is_heard(preparation.heard(directive(Order::Relinquish), true)), "too long ago");
        // It is called off.
        assert!(is_heard(preparation.heard(directive(Order::Unpin), true)));
        let still = tokio::time::timeout(FOR_AN_ORDER, preparation.finished()).await;
        assert!(still.is_err(), "nothing is under way");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_nothing_to_prepare_hears_at_once() {
        let (_, mut idle) = preparation(Slow::default());
        assert!(is_heard(idle.heard(directive(Order::Relinquish), false)), "it does not lead");
        let (_, mut quick) = preparation(Slow(tokio::sync::Notify::new(), true));
        assert!(is_heard(quick.heard(directive(Order::Relinquish), true)));
        assert!(!quick.holds_leaving(true));
    }

    #[tokio::test(start_paused = true)]
    async fn it_has_its_time_and_less_where_the_daemon_ends() {
        let (_slow, mut preparation) = preparation(Slow::default());
        let begun = Instant::now();
        assert!(!is_heard(preparation.heard(directive(Order::Relinquish), true)));
        assert!(matches!(preparation.finished().await, Then::Hear(_)));
        assert_eq!(begun.elapsed().as_secs(), FOR_AN_ORDER.as_secs());
        tokio::time::advance(LASTS).await;
        assert!(!is_heard(preparation.heard(directive(Order::Relinquish), true)));
        assert!(preparation.holds_leaving(true) && preparation.is_leaving());
        assert!(is_heard(preparation.heard(directive(Order::Unpin), true)));
        assert!(preparation.is_leaving(), "whoever leaves goes on leaving");
        let begun = Instant::now();
        assert!(matches!(preparation.finished().await, Then::Leave));
        assert_eq!(begun.elapsed().as_secs(), FOR_LEAVING.as_secs());
    }
}
