//! The Python module `kv_router._native`.
//!
//! Calls that wait for workers let go of the GIL. Making a runtime does not: it holds the GIL while native code waits,
//! and the lease keeper's log line needs the GIL too. That is the hang of this example, kept on purpose.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kv_router_core::plane::EventPlane;
use kv_router_core::request::RequestPlane;
use kv_router_core::router::{Router, RouterConfig};
use kv_router_core::runtime::{self, RuntimeConfig, Scope};
use kv_router_core::selector::TieBreak;
use kv_router_core::worker::{Worker, WorkerConfig};
use kv_router_core::{hub, lease};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

mod c_interface;

/// Set at exit: from then on nobody may wait for the GIL, which never comes back.
static EXITING: AtomicBool = AtomicBool::new(false);

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{DistributedRuntime, KvPushRouter, MockWorkers, fetch_model, stop_logging};
}

/// What routers and workers run on; see `kv_router_core::runtime`.
#[pyclass(frozen)]
struct DistributedRuntime {
    inner: Arc<runtime::DistributedRuntime>,
    root: PathBuf,
}

#[pymethods]
impl DistributedRuntime {
    #[new]
    #[pyo3(signature = (namespace, root, broker, logger, scope = "process", renew_every_s = 0.25))]
    fn new(
        namespace: String,
        root: PathBuf,
        broker: Option<String>,
        logger: Py<PyAny>,
        scope: &str,
        renew_every_s: f64,
    ) -> PyResult<DistributedRuntime> {
        let scope = match scope {
            "process" => Scope::Process,
            "instance" => Scope::Instance,
            other => return Err(unknown("scope", other)),
        };
        let config = RuntimeConfig {
            namespace,
            broker,
            root: root.clone(),
            scope,
            renew_every: Duration::from_secs_f64(renew_every_s),
            log: python_log(logger),
        };
        let inner = Arc::new(runtime::DistributedRuntime::new(config).map_err(raised)?);
        Ok(DistributedRuntime { inner, root })
    }

    /// Leaves the namespace.
    fn shutdown(&self) {
        self.inner.shutdown();
    }

    /// Forgets everything that the process shares.
    #[staticmethod]
    fn reset() {
        runtime::DistributedRuntime::reset();
    }

    /// Address of this runtime's publisher for the C interface; only an instance's own, which lives as long as this.
    fn publisher_address(&self) -> Option<usize> {
        let publisher = self.inner.publisher();
        publisher.get().map(|publisher| std::ptr::from_ref(publisher) as usize)
    }
}

/// A router; see `kv_router_core::router`.
#[pyclass(frozen)]
struct KvPushRouter {
    inner: Router,
    runtime: Arc<runtime::DistributedRuntime>,
}

#[pymethods]
impl KvPushRouter {
    #[new]
    #[pyo3(signature = (runtime, event_plane, request_plane, tie_break, apply_every_s, temperature = 0.0, prefix_cache = None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python constructor")]
    fn new(
        py: Python<'_>,
        runtime: &DistributedRuntime,
        event_plane: &str,
        request_plane: &str,
        tie_break: &str,
        apply_every_s: f64,
        temperature: f64,
        prefix_cache: Option<usize>,
    ) -> PyResult<KvPushRouter> {
        let config = RouterConfig {
            namespace: runtime.inner.namespace().to_owned(),
            root: runtime.root.clone(),
            event_plane: event_plane_named(event_plane)?,
            request_plane: request_plane_named(request_plane)?,
            tie_break: match tie_break {
                "smallest_tree" => TieBreak::SmallestTree,
                "largest_tree" => TieBreak::LargestTree,
                "map_order" => TieBreak::MapOrder,
                other => return Err(unknown("tie break", other)),
            },
            temperature,
            apply_every: Duration::from_secs_f64(apply_every_s),
            prefix_cache,
        };
        let runtime = runtime.inner.clone();
        let client = runtime.client().cloned();
        let inner = py
            .detach(|| runtime.handle().block_on(Router::start(client, config)))
            .map_err(raised)?;
        Ok(KvPushRouter { inner, runtime })
    }

    /// Ids of the workers that are there.
    fn worker_ids(&self) -> Vec<u64> {
        self.inner
            .instances()
            .iter()
            .map(|instance| instance.worker_id)
            .collect()
    }

    /// Sends a prompt and waits for the answer: worker id, rank and number of tokens.
    fn generate(&self, py: Python<'_>, tokens: Vec<u32>, max_tokens: u32) -> PyResult<(u64, u32, u32)> {
        let response = py
            .detach(|| self.runtime.handle().block_on(self.inner.generate(tokens, max_tokens)))
            .map_err(raised)?;
        Ok((response.worker_id, response.dp_rank, response.n_tokens))
    }

    /// Events received and not yet applied.
    fn pending_events(&self) -> usize {
        self.inner.n_pending()
    }

    /// What the tree holds, as JSON: one event for each block of each target.
    fn dump_events(&self) -> PyResult<String> {
        serde_json::to_string(&self.inner.dump()).map_err(|cause| PyRuntimeError::new_err(cause.to_string()))
    }
}

/// Mock workers in this process, on a runtime of their own.
#[pyclass]
struct MockWorkers {
    workers: Vec<Worker>,
    runtime: Arc<runtime::DistributedRuntime>,
}

#[pymethods]
impl MockWorkers {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python constructor")]
    fn new(
        py: Python<'_>,
        runtime: &DistributedRuntime,
        worker_ids: Vec<u64>,
        dp_size: u32,
        event_plane: &str,
        request_plane: &str,
        capacity: usize,
        token_time_s: f64,
        report_every_s: f64,
        report_at_most: usize,
    ) -> PyResult<MockWorkers> {
        let config = WorkerConfig {
            namespace: runtime.inner.namespace().to_owned(),
            root: runtime.root.clone(),
            event_plane: event_plane_named(event_plane)?,
            request_plane: request_plane_named(request_plane)?,
            dp_size,
            capacity,
            token_time: Duration::from_secs_f64(token_time_s),
            report_every: Duration::from_secs_f64(report_every_s),
            report_at_most,
        };
        let runtime = runtime.inner.clone();
        let workers = py
            .detach(|| {
                runtime.handle().block_on(async {
                    let mut workers = Vec::new();
                    for worker_id in worker_ids {
                        workers.push(Worker::start(worker_id, runtime.client().cloned(), config.clone()).await?);
                    }
                    Ok(workers)
                })
            })
            .map_err(raised)?;
        Ok(MockWorkers { workers, runtime })
    }

    /// Requests answered so far, by worker.
    fn n_requests(&self) -> Vec<(u64, u64)> {
        self.workers
            .iter()
            .map(|worker| (worker.worker_id(), worker.n_requests()))
            .collect()
    }

    /// Leaves the registry and says that the caches are gone; waits until the broker has it.
    fn leave(&mut self, py: Python<'_>) {
        let workers = std::mem::take(&mut self.workers);
        py.detach(|| {
            self.runtime.handle().block_on(async {
                for worker in workers {
                    worker.leave().await;
                }
            });
        });
    }
}

/// Asks the hub for a model: its name and revision.
#[pyfunction]
fn fetch_model(
    py: Python<'_>,
    runtime: &DistributedRuntime,
    endpoint: String,
    name: String,
) -> PyResult<(String, String)> {
    let card = py
        .detach(|| runtime.inner.handle().block_on(hub::fetch_model(&endpoint, &name)))
        .map_err(raised)?;
    Ok((card.id, card.sha))
}

/// Lets nothing of this module ask for the GIL any more.
#[pyfunction]
fn stop_logging() {
    EXITING.store(true, Ordering::SeqCst);
}

/// Log lines go to a Python logger, which takes the GIL.
fn python_log(logger: Py<PyAny>) -> lease::Log {
    Arc::new(move |line| {
        if !EXITING.load(Ordering::SeqCst) {
            Python::try_attach(|py| {
                if let Err(error) = logger.call_method1(py, "debug", (line,)) {
                    error.write_unraisable(py, None);
                }
            });
        }
    })
}

fn event_plane_named(name: &str) -> PyResult<EventPlane> {
    Ok(match name {
        "jetstream" => EventPlane::Jetstream,
        "nats_core" => EventPlane::NatsCore,
        "file" => EventPlane::File,
        "no_kv_events" => EventPlane::None,
        other => return Err(unknown("event plane", other)),
    })
}

fn request_plane_named(name: &str) -> PyResult<RequestPlane> {
    Ok(match name {
        "tcp" => RequestPlane::Tcp,
        "nats" => RequestPlane::Nats,
        other => return Err(unknown("request plane", other)),
    })
}

fn unknown(what: &str, name: &str) -> PyErr {
    PyValueError::new_err(format!("unknown {what} `{name}`"))
}

fn raised(error: kv_router_core::Error) -> PyErr {
    PyRuntimeError::new_err(error.0)
}
