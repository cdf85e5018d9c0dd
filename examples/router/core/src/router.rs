//! The router: knows who is there, what each holds and is busy with, and sends requests accordingly.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Client;
use tokio::task::JoinHandle;

use crate::block::{Block, blocks};
use crate::discovery::{Discovery, Instance};
use crate::event::{KvEvent, Target};
use crate::indexer::Indexer;
use crate::plane::{self, EventPlane};
use crate::prefix_cache::PrefixCache;
use crate::request::{self, Request, RequestPlane, Response};
use crate::selector::{Load, TieBreak, select};
use crate::{Error, Result};

/// How a router decides and where it listens.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Namespace of all subjects.
    pub namespace: String,
    /// Directory of the registry and of event files.
    pub root: PathBuf,
    /// Way of KV events.
    pub event_plane: EventPlane,
    /// Way of requests.
    pub request_plane: RequestPlane,
    /// What decides between equals.
    pub tie_break: TieBreak,
    /// 0 for the cheapest, more to spread.
    pub temperature: f64,
    /// Time between two batches of events applied to the tree.
    pub apply_every: Duration,
    /// Prefixes to remember; `None` for no prefix cache.
    pub prefix_cache: Option<usize>,
}

/// A router that is listening.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    client: Option<Client>,
    discovery: Discovery,
    indexer: Arc<Indexer>,
    active: Mutex<HashMap<Target, usize>>,
    prefix_cache: Option<Mutex<PrefixCache>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Router {
    /// Starts a router on the current runtime.
    pub async fn start(client: Option<Client>, config: RouterConfig) -> Result<Router> {
        let discovery = Discovery::new(&config.root)?;
        let indexer = Arc::new(Indexer::default());
        let worker_ids: Vec<u64> = discovery
            .instances()
            .iter()
            .map(|instance| instance.worker_id)
            .collect();
        let (plane, namespace) = (config.event_plane, &config.namespace);
        let follower = plane::follow(
            plane,
            client.as_ref(),
            namespace,
            &config.root,
            &worker_ids,
            indexer.clone(),
        )
        .await?;
        let applier = tokio::spawn(indexer.clone().run(config.apply_every));
        Ok(Router {
            client,
            discovery,
            indexer,
            active: Mutex::default(),
            prefix_cache: config
                .prefix_cache
                .map(|capacity| Mutex::new(PrefixCache::new(capacity))),
            tasks: follower.into_iter().chain([applier]).collect(),
            config,
        })
    }

    /// Who is there now.
    pub fn instances(&self) -> Vec<Instance> {
        self.discovery.instances()
    }

    /// Sends a prompt to the worker it belongs to and waits for the answer.
    pub async fn generate(&self, tokens: Vec<u32>, max_tokens: u32) -> Result<Response> {
        let instances = self.instances();
        let request_blocks = blocks(&tokens);
        let target = self
            .route(&tokens, &request_blocks, &instances)
            .ok_or_else(|| Error("no worker is there".into()))?;
        let instance = instances
            .iter()
            .find(|instance| instance.worker_id == target.worker_id)
            .ok_or_else(|| Error(format!("worker {} has left", target.worker_id)))?;
        let n_blocks = request_blocks.len();
        *lock(&self.active).entry(target).or_default() += n_blocks;
        let request = Request {
            tokens,
            max_tokens,
            dp_rank: target.dp_rank,
        };
        let response = request::send(
            self.config.request_plane,
            self.client.as_ref(),
            &self.config.namespace,
            instance,
            &request,
        )
        .await;
        if let Some(active) = lock(&self.active).get_mut(&target) {
            *active = active.saturating_sub(n_blocks);
        }
        response
    }

    fn route(&self, tokens: &[u32], request: &[Block], instances: &[Instance]) -> Option<Target> {
        let now = Instant::now();
        let is_alive = |target: Target| {
            instances
                .iter()
                .flat_map(Instance::targets)
                .any(|there| there == target)
        };
        let remembered = self
            .prefix_cache
            .as_ref()
            .and_then(|cache| lock(cache).lookup(tokens, now, is_alive));
        let target = remembered.or_else(|| {
            let overlaps = self.indexer.overlaps(request);
            let active = lock(&self.active);
            let candidates: HashMap<Target, Load> = instances
                .iter()
                .flat_map(Instance::targets)
                .map(|target| {
                    let load = Load {
                        overlap: overlaps.get(&target).copied().unwrap_or(0),
                        active: active.get(&target).copied().unwrap_or(0),
                        tree_size: self.indexer.size(target),
                    };
                    (target, load)
                })
                .collect();
            select(
                request.len(),
                &candidates,
                self.config.temperature,
                self.config.tie_break,
            )
        })?;
        if let Some(cache) = &self.prefix_cache {
            lock(cache).remember(tokens, target, now);
        }
        if self.config.event_plane == EventPlane::None {
            self.indexer.predict(target, request);
        }
        Some(target)
    }

    /// Events received and not yet applied.
    pub fn n_pending(&self) -> usize {
        self.indexer.n_pending()
    }

    /// What the tree holds.
    pub fn dump(&self) -> Vec<KvEvent> {
        self.indexer.dump()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::{Worker, WorkerConfig};

    const BATCH: Duration = Duration::from_millis(1);

    async fn worker(root: &std::path::Path, worker_id: u64) -> Worker {
        let config = WorkerConfig {
            namespace: "test".into(),
            root: root.into(),
            event_plane: EventPlane::File,
            request_plane: RequestPlane::Tcp,
            dp_size: 1,
            capacity: 64,
            token_time: Duration::ZERO,
            report_every: BATCH,
            report_at_most: 64,
        };
        Worker::start(worker_id, None, config).await.unwrap()
    }

    async fn router(root: &std::path::Path, event_plane: EventPlane, prefix_cache: Option<usize>) -> Router {
        let config = RouterConfig {
            namespace: "test".into(),
            root: root.into(),
            event_plane,
            request_plane: RequestPlane::Tcp,
            tie_break: TieBreak::MapOrder,
            temperature: 0.0,
            apply_every: BATCH,
            prefix_cache,
        };
        Router::start(None, config).await.unwrap()
    }

    fn fresh_root(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("kv-router-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).unwrap();
        root
    }

    #[tokio::test]
    async fn a_longer_prompt_follows_its_prefix_once_the_events_have_been_applied() {
        let root = fresh_root("events");
        let workers = [worker(&root, 1).await, worker(&root, 2).await];
        let router = router(&root, EventPlane::File, None).await;
        let mut tokens: Vec<u32> = (0..16).collect();
        let first = router.generate(tokens.clone(), 1).await.unwrap();
        for round in 1..4 {
            let until = Instant::now() + Duration::from_secs(10);
            while router.dump().len() < round && Instant::now() < until {
                tokio::time::sleep(BATCH).await;
            }
            tokens.extend((0..16).map(|token| token + 100 * round as u32));
            assert_eq!(
                router.generate(tokens.clone(), 1).await.unwrap().worker_id,
                first.worker_id
            );
        }
        for worker in workers {
            worker.leave().await;
        }
        assert!(router.instances().is_empty());
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[tokio::test]
    async fn without_events_the_router_believes_its_decisions_or_remembers_them() {
        let root = fresh_root("decisions");
        let _workers = [worker(&root, 1).await, worker(&root, 2).await];
        for (plane, prefix_cache) in [(EventPlane::None, None), (EventPlane::File, Some(16))] {
            let router = router(&root, plane, prefix_cache).await;
            let mut tokens: Vec<u32> = (1000..1016).collect();
            let mut seen = std::collections::HashSet::new();
            for round in 0..6 {
                seen.insert(router.generate(tokens.clone(), 1).await.unwrap().worker_id);
                tokens.extend((0..16).map(|token| token + 100 * round));
            }
            assert_eq!(seen.len(), 1, "{plane:?}");
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
