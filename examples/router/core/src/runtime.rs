//! What routers run on, and what a whole process shares whether it wants to or not.
//!
//! With [`Scope::Process`] there is one Tokio runtime, one lease for each namespace and one event publisher in the
//! process, each made by whoever comes first and kept in a `OnceCell`. The publisher therefore belongs to the broker of
//! the first comer, and stays with it until somebody calls [`DistributedRuntime::shutdown`]. With [`Scope::Instance`]
//! nothing is shared.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Client;
use once_cell::sync::OnceCell;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::lease::{self, CurrentLease, Grant, Log};
use crate::plane;
use crate::publisher::EventPublisher;
use crate::{Result, failed};

static RUNTIME: OnceCell<Runtime> = OnceCell::new();
static LEASES: LazyLock<Mutex<HashMap<String, Arc<CurrentLease>>>> = LazyLock::new(Mutex::default);
static PUBLISHER: LazyLock<Mutex<Arc<OnceCell<EventPublisher>>>> = LazyLock::new(Mutex::default);

/// Threads of a Tokio runtime.
const N_THREADS: usize = 2;

/// Who shares a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything in the process.
    Process,
    /// Nobody.
    Instance,
}

/// Where a runtime takes part.
#[derive(Clone)]
pub struct RuntimeConfig {
    /// Namespace of all subjects.
    pub namespace: String,
    /// Address of the broker, where there is one.
    pub broker: Option<String>,
    /// Directory for what is shared without a broker.
    pub root: PathBuf,
    /// Who shares it.
    pub scope: Scope,
    /// Time between two renewals of the lease.
    pub renew_every: Duration,
    /// Where it says what happens.
    pub log: Log,
}

/// A runtime that takes part in a namespace.
pub struct DistributedRuntime {
    own: Option<Runtime>,
    handle: Handle,
    client: Option<Client>,
    namespace: String,
    lease: Arc<CurrentLease>,
    publisher: Arc<OnceCell<EventPublisher>>,
}

impl DistributedRuntime {
    /// Joins a namespace: connects, takes the lease, and sees to an event publisher.
    ///
    /// Blocks until all that is done.
    pub fn new(config: RuntimeConfig) -> Result<DistributedRuntime> {
        let own = match config.scope {
            Scope::Process => None,
            Scope::Instance => Some(build()?),
        };
        let handle = match &own {
            Some(runtime) => runtime.handle().clone(),
            None => RUNTIME.get_or_try_init(build)?.handle().clone(),
        };
        let client = match &config.broker {
            Some(url) => Some(handle.block_on(plane::connect(url))?),
            None => None,
        };
        let grant = lease::granter(
            handle.clone(),
            client.clone(),
            &config.namespace,
            &config.root,
            config.log,
        );
        let (lease, publisher) = match config.scope {
            Scope::Process => {
                let publisher = lock(&PUBLISHER).clone();
                (shared_lease(&config.namespace, &grant, config.renew_every)?, publisher)
            }
            Scope::Instance => {
                let lease = Arc::new(CurrentLease::default());
                lease.get(&grant);
                lease::keep(&lease, grant, config.renew_every)?;
                (lease, Arc::default())
            }
        };
        if let Some(client) = &client {
            publisher.get_or_init(|| EventPublisher::new(handle.clone(), client, &config.namespace));
        }
        Ok(DistributedRuntime {
            own,
            handle,
            client,
            namespace: config.namespace,
            lease,
            publisher,
        })
    }

    /// What runs tasks.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The connection to the broker, where there is one.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// The namespace it takes part in.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The publisher it uses: the process's, or its own.
    pub fn publisher(&self) -> Arc<OnceCell<EventPublisher>> {
        self.publisher.clone()
    }

    /// How many hold the lease, for tests.
    pub fn n_lease_holders(&self) -> usize {
        Arc::strong_count(&self.lease)
    }

    /// Leaves the namespace; the process's publisher goes with it.
    pub fn shutdown(&self) {
        if self.own.is_none() {
            lock(&LEASES).remove(&self.namespace);
            *lock(&PUBLISHER) = Arc::default();
        }
    }

    /// Forgets everything that the process shares, whoever made it; what is still in use lives on with its users.
    pub fn reset() {
        lock(&LEASES).clear();
        *lock(&PUBLISHER) = Arc::default();
    }
}

impl Drop for DistributedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.own.take() {
            // Dropped from any thread, also one that may not block.
            runtime.shutdown_background();
        }
    }
}

/// The publisher that the process shares, made by the first runtime that has a broker.
pub fn shared_publisher() -> Arc<OnceCell<EventPublisher>> {
    lock(&PUBLISHER).clone()
}

fn shared_lease(namespace: &str, grant: &Grant, renew_every: Duration) -> Result<Arc<CurrentLease>> {
    let known = lock(&LEASES).get(namespace).cloned();
    if let Some(lease) = known {
        lease.get(grant);
        return Ok(lease);
    }
    let lease = Arc::new(CurrentLease::default());
    lease.get(grant);
    lease::keep(&lease, grant.clone(), renew_every)?;
    lock(&LEASES).insert(namespace.to_owned(), lease.clone());
    Ok(lease)
}

fn build() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(N_THREADS)
        .thread_name("kv-router")
        .enable_all()
        .build()
        .map_err(|cause| failed("start a runtime")(&cause))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(namespace: &str, scope: Scope) -> DistributedRuntime {
        DistributedRuntime::new(RuntimeConfig {
            namespace: namespace.into(),
            broker: None,
            root: std::env::temp_dir(),
            scope,
            renew_every: Duration::from_secs(60),
            log: Arc::new(|_| ()),
        })
        .unwrap()
    }

    #[test]
    fn runtimes_of_a_process_share_a_lease_and_instances_do_not() {
        let (first, second) = (runtime("shared", Scope::Process), runtime("shared", Scope::Process));
        assert!(Arc::ptr_eq(&first.lease, &second.lease));
        let (first, second) = (runtime("shared", Scope::Instance), runtime("shared", Scope::Instance));
        assert!(!Arc::ptr_eq(&first.lease, &second.lease));
        assert!(!Arc::ptr_eq(&first.publisher, &second.publisher));
    }

    #[test]
    fn after_a_shutdown_a_namespace_begins_anew() {
        let first = runtime("ends", Scope::Process);
        first.shutdown();
        let second = runtime("ends", Scope::Process);
        assert!(!Arc::ptr_eq(&first.lease, &second.lease));
    }

    #[test]
    fn an_instance_can_be_dropped_inside_another_runtime() {
        let outer = build().unwrap();
        let inner = runtime("inner", Scope::Instance);
        outer.block_on(async move { drop(inner) });
    }
}
