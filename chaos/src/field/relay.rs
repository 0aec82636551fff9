//! A bad line between a machine and the switch: frames come out of one tap and go into the other, late, twice or out of order
//! as their [`Lane`] says. The kernel's own queueing disciplines for this are often not built in; taps always are. Connections
//! live on while a relay comes and goes: it is no party to them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::oneshot;
use tun_rs::{AsyncDevice, DeviceBuilder, Layer};

use super::lane::{Lane, Weather};
use super::wire::{BRIDGE, Namespace, Wire};

/// The longest frame: an Ethernet header and tag before the longest packet that a tap is given.
const FRAME: usize = 1_522;

/// A running relay. Dropped, it ends, and both taps are gone.
#[derive(Debug)]
pub struct Relay {
    carried: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Makes two taps with these names inside the switch, and carries between them from now on.
    ///
    /// # Errors
    /// The kernel has no taps, or a name is taken.
    pub fn start(switch: &Namespace, taps: [&str; 2], weather: Weather, seed: u64) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("a runtime for a bad line")?;
        let make = || -> io::Result<[AsyncDevice; 2]> {
            let _here = runtime.enter();
            Ok([tap(taps[0])?, tap(taps[1])?])
        };
        let ends = switch.inside(make)?.context("make a tap, which needs /dev/net/tun")?;
        let carried = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let counted = carried.clone();
        let lanes = [Lane::new(weather, seed), Lane::new(weather, seed.wrapping_add(1))];
        let work = move || runtime.block_on(carry(&ends, lanes, &counted, stopped));
        let thread = std::thread::Builder::new().name("bad-line".to_owned()).spawn(work)?;
        Ok(Self { carried, stop: Some(stop), thread: Some(thread) })
    }

    /// How many frames it has carried so far.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed; the cluster is taken down all the same.
            let _ = thread.join();
        }
    }
}

/// A machine's line that has become bad.
#[derive(Debug)]
pub struct BadLine {
    port: String,
    side: String,
    relay: Relay,
}

impl BadLine {
    /// How many frames have gone over it since.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.relay.carried()
    }
}

impl Wire {
    /// From now on everything between the machine and the switch goes through a bad line, both ways. What was under way in this
    /// moment may be lost, as where a cable is moved.
    ///
    /// # Errors
    /// There is no such machine, its line is bad already, or the kernel has no taps.
    pub fn spoil(&mut self, name: &str, weather: Weather, seed: u64) -> anyhow::Result<BadLine> {
        let port = self.place(name)?.port();
        let [side, near, far] = ["side", "near", "far"].map(|part| port.replace("port", part));
        // The machine's port moves to a switch of its own, whose only other port is one tap; the other tap takes its old place.
        self.ip(&format!("link add {side} type bridge\nlink set {side} up\n"))?;
        let moved = |wire: &Self| {
            let relay = Relay::start(&wire.switch, [&near, &far], weather, seed)?;
            wire.ip(&format!(
                "link set {near} master {side}\nlink set {far} master {BRIDGE}\nlink set {near} up\nlink set {far} up\n\
                 link set {port} master {side}\n"
            ))?;
            Ok(relay)
        };
        match moved(self) {
            Ok(relay) => Ok(BadLine { port, side, relay }),
            Err(error) => {
                // As before, as far as it can be.
                let _ = self.ip(&format!("link set {port} master {BRIDGE}\nlink del {side}\n"));
                Err(error)
            }
        }
    }

    /// The line is good again. What was still under way is lost.
    ///
    /// # Errors
    /// `ip` refuses.
    pub fn repair(&mut self, line: BadLine) -> anyhow::Result<()> {
        let BadLine { port, side, relay } = line;
        self.ip(&format!("link set {port} master {BRIDGE}\nlink del {side}\n"))?;
        drop(relay);
        Ok(())
    }

    fn ip(&self, batch: &str) -> anyhow::Result<()> {
        self.switch.tool("ip", &["-batch", "-"], batch).map(|_| ())
    }
}

fn tap(name: &str) -> io::Result<AsyncDevice> {
    DeviceBuilder::new().name(name).layer(Layer::L2).build_async()
}

async fn carry(
    ends: &[AsyncDevice; 2],
    mut lanes: [Lane; 2],
    carried: &AtomicU64,
    mut stopped: oneshot::Receiver<()>,
) {
    let [near, far] = ends;
    let (mut out, mut back) = ([0; FRAME], [0; FRAME]);
    loop {
        let next = lanes.iter().filter_map(Lane::next).min();
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        // An end that was taken away reads as an error until this is told to stop.
        let read = tokio::select! {
            biased;
            _ = &mut stopped => return,
            () = due => Ok(()),
            got = near.recv(&mut out) => got.map(|length| lanes[0].take(Instant::now(), &out[..length])),
            got = far.recv(&mut back) => got.map(|length| lanes[1].take(Instant::now(), &back[..length])),
        };
        if read.is_err() {
            return;
        }
        for (lane, to) in lanes.iter_mut().zip([far, near]) {
            while let Some(frame) = lane.leave(Instant::now()) {
                carried.fetch_add(1, Ordering::Relaxed);
                // What the kernel does not take is lost, as on any line.
                let _ = to.send(&frame).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::field::wire::two_machines;

    /// Two machines with one connection between them, before, while and after its line is bad. As root only.
    #[test]
    fn a_connection_lives_through_a_line_that_becomes_bad_and_good_again() {
        let (mut wire, one, two) = two_machines();
        let listener = two.namespace.inside(|| TcpListener::bind("0.0.0.0:7000")).expect("inside");
        let listener = listener.expect("free");
        let address = (two.address(), 7000).into();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(3));
        let mut near = one.namespace.inside(connect).expect("inside").expect("connected");
        let (mut far, _) = listener.accept().expect("connected");
        std::thread::spawn(move || {
            let mut byte = [0; 1];
            while far.read_exact(&mut byte).is_ok() && far.write_all(&byte).is_ok() {}
        });
        let mut there_and_back = || {
            let begin = Instant::now();
            near.write_all(&[7]).expect("sent");
            near.read_exact(&mut [0; 1]).expect("answered");
            begin.elapsed()
        };
        there_and_back();
        let weather = Weather { delay: Duration::from_millis(40), ..Weather::default() };
        let line = wire.spoil("two", weather, 1).expect("spoiled");
        assert!(wire.spoil("two", weather, 1).is_err(), "it is bad already");
        // The first may be sent again, where it was under way while the port moved.
        there_and_back();
        let late = there_and_back();
        assert!(late >= Duration::from_millis(80), "40 ms each way, not {late:?}");
        assert!(line.carried() > 0);
        wire.repair(line).expect("repaired");
        there_and_back();
        let again = wire.spoil("two", weather, 1).expect("it was good again");
        wire.repair(again).expect("repaired");
    }
}
