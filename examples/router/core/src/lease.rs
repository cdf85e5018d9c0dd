//! The lease under which a process takes part: asked for when it starts, renewed as long as it lives.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use once_cell::sync::OnceCell;
use tokio::runtime::Handle;

use crate::{Error, Result};

/// A lease that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Counts from 1 in each process and namespace.
    pub number: u64,
}

/// Tells whoever embeds the router what happens; Python's logger, in the binding.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// Grants a lease, given its number.
pub type Grant = Arc<dyn Fn(u64) -> Lease + Send + Sync>;

/// The lease that holds now. Whoever comes first asks for it, and everybody else waits for the answer.
#[derive(Debug, Default)]
pub struct CurrentLease {
    current: Mutex<(u64, Arc<OnceCell<Lease>>)>,
}

impl CurrentLease {
    /// The lease, granted now if nobody has asked for it yet.
    ///
    /// Blocks in native code while another thread is asking. A caller that holds a lock which `grant` needs waits
    /// forever.
    pub fn get(&self, grant: &Grant) -> Lease {
        let (number, cell) = self.lock().clone();
        cell.get_or_init(|| grant(number + 1)).clone()
    }

    /// Lets go of the lease and asks for the next one.
    pub fn renew(&self, grant: &Grant) -> Lease {
        {
            let mut current = self.lock();
            *current = (current.0 + 1, Arc::default());
        }
        self.get(grant)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, Arc<OnceCell<Lease>>)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews a lease in a thread of its own until nobody holds it any more.
pub fn keep(lease: &Arc<CurrentLease>, grant: Grant, every: Duration) -> Result<()> {
    let lease: Weak<CurrentLease> = Arc::downgrade(lease);
    std::thread::Builder::new()
        .name("lease-keeper".into())
        .spawn(move || {
            loop {
                std::thread::sleep(every);
                let Some(lease) = lease.upgrade() else {
                    return;
                };
                lease.renew(&grant);
            }
        })
        .map(|_| ())
        .map_err(|cause| Error(format!("failed to start the lease keeper: {cause}")))
}

/// The usual way to grant: claim a subject at the broker, wait until the claim comes back, and say so; without a broker,
/// a file.
pub fn granter(handle: Handle, client: Option<Client>, namespace: &str, root: &Path, log: Log) -> Grant {
    let subject = format!("kv.{namespace}.lease.{}", std::process::id());
    let path = root.join(format!("lease.{}", std::process::id()));
    Arc::new(move |number| {
        match &client {
            Some(client) => handle.block_on(claim(client, &subject, number)),
            None => {
                let _ = std::fs::write(&path, number.to_string());
            }
        }
        log(&format!("lease {number} granted"));
        Lease { number }
    })
}

async fn claim(client: &Client, subject: &str, number: u64) {
    let echo = async {
        let mut claims = client.subscribe(subject.to_owned()).await.ok()?;
        client
            .publish(subject.to_owned(), number.to_string().into())
            .await
            .ok()?;
        client.flush().await.ok()?;
        claims.next().await
    };
    // A broker that is gone grants nothing; the process goes on under its old name.
    let _ = tokio::time::timeout(Duration::from_secs(1), echo).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn counting() -> (Grant, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = asked.clone();
        let grant: Grant = Arc::new(move |number| {
            counter.fetch_add(1, Ordering::Relaxed);
            Lease { number }
        });
        (grant, asked)
    }

    #[test]
    fn many_callers_ask_once() {
        let (grant, asked) = counting();
        let lease = Arc::new(CurrentLease::default());
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (lease, grant) = (lease.clone(), grant.clone());
                std::thread::spawn(move || lease.get(&grant).number)
            })
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 1));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_renewed_lease_has_the_next_number() {
        let (grant, asked) = counting();
        let lease = CurrentLease::default();
        assert_eq!(
            (
                lease.get(&grant).number,
                lease.renew(&grant).number,
                lease.get(&grant).number
            ),
            (1, 2, 2)
        );
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_keeper_ends_with_its_lease() {
        let (grant, asked) = counting();
        let lease = Arc::new(CurrentLease::default());
        keep(&lease, grant, Duration::from_millis(1)).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while asked.load(Ordering::Relaxed) < 2 && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(asked.load(Ordering::Relaxed) >= 2);
        let weak = Arc::downgrade(&lease);
        drop(lease);
        while weak.upgrade().is_some() && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(weak.upgrade().is_none());
    }
}
