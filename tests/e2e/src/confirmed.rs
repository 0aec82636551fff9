//! A client that looks for the master, and counts a write only once a replica has confirmed it: what `ack_quorum` = 1
//! promises to keep.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::store;

/// Between two writes.
const PACE: Duration = Duration::from_millis(2);

/// A thread that writes until this is stopped or dropped.
#[derive(Debug)]
pub struct Confirmed {
    kept: Arc<Mutex<Vec<u64>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Confirmed {
    /// Writes to whichever of the engines accepts it.
    #[must_use]
    pub fn start(ports: Vec<u16>) -> Self {
        let (kept, stop) = (Arc::<Mutex<Vec<u64>>>::default(), Arc::<AtomicBool>::default());
        let thread = {
            let (kept, stop) = (Arc::clone(&kept), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut tried = 0;
                for port in ports.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    write_until_refused(*port, &mut tried, &kept, &stop);
                    std::thread::sleep(PACE); // tidy: waits because the load has a pace
                }
            })
        };
        Self { kept, stop, thread: Some(thread) }
    }

    /// How many were confirmed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Stops, and names the confirmed writes that an engine does not have.
    ///
    /// # Errors
    /// What the engine said.
    pub fn lost_on(mut self, port: u16) -> Result<Vec<u64>, String> {
        self.end();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut connection = store::connect(port, None)?;
        let mut lost = Vec::new();
        for number in kept {
            if store::query::<u64>(&mut connection, &["EXISTS", &key(number)])? == 0 {
                lost.push(number);
            }
        }
        Ok(lost)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Confirmed {
    fn drop(&mut self) {
        self.end();
    }
}

fn key(number: u64) -> String {
    format!("confirmed:{number}")
}

fn write_until_refused(port: u16, tried: &mut u64, kept: &Mutex<Vec<u64>>, stop: &AtomicBool) {
    let Ok(mut connection) = store::connect(port, None) else { return };
    while !stop.load(Ordering::Relaxed) {
        *tried += 1;
        let number = *tried;
        if store::query::<String>(&mut connection, &["SET", &key(number), "1"]).is_err() {
            return;
        }
        match store::query::<u64>(&mut connection, &["WAIT", "1", "1000"]) {
            Ok(replicas) if replicas > 0 => kept.lock().unwrap_or_else(PoisonError::into_inner).push(number),
            // Nobody confirmed it in time: it may be kept or not, and nobody was told that it is.
            Ok(_) => {}
            Err(_) => return,
        }
        std::thread::sleep(PACE); // tidy: waits because the load has a pace
    }
}
