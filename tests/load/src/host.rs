//! One host: its members, and the daemon's own link for all of them over one connection. It can stand still as a whole, as
//! one that was cut off does: nothing leaves it, and nothing on it runs.

use baton_coordinator::link::host::HostLink;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The host's link, which stands still with it.
pub(crate) async fn link(link: HostLink, mut frozen: watch::Receiver<bool>, stop: CancellationToken) {
    let mut run = std::pin::pin!(link.run(stop));
    loop {
        tokio::select! {
            biased;
            changed = frozen.wait_for(|frozen| *frozen) => {
                if changed.is_err() {
                    return;
                }
            }
            () = &mut run => return,
        }
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
    }
}
