//! A mock worker: a cache, an engine that takes time, and a reporter that tells what the cache stores.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::block::{Block, blocks};
use crate::discovery::{Discovery, Instance};
use crate::event::{Change, KvEvent, Target};
use crate::plane::{EventPlane, EventSink, replay_subject};
use crate::request::{Request, RequestPlane, Response, request_subject};
use crate::{Result, failed};

/// How a worker works, and how it reports.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Namespace of all subjects.
    pub namespace: String,
    /// Directory of the registry and of event files.
    pub root: PathBuf,
    /// Way of its events.
    pub event_plane: EventPlane,
    /// Way of its requests.
    pub request_plane: RequestPlane,
    /// Data-parallel ranks, each with a cache.
    pub dp_size: u32,
    /// Blocks a rank's cache holds before it evicts the oldest.
    pub capacity: usize,
    /// Time the engine needs for one new token.
    pub token_time: Duration,
    /// Time between two reports: engines hand their events over in batches.
    pub report_every: Duration,
    /// Most events in one report; the rest waits for the next one.
    pub report_at_most: usize,
}

/// A worker that is listening.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    discovery: Discovery,
    sink: EventSink,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    worker_id: u64,
    config: WorkerConfig,
    caches: Mutex<HashMap<u32, Cache>>,
    outbox: Mutex<VecDeque<KvEvent>>,
    said: Mutex<Vec<KvEvent>>,
    stored: Notify,
    n_requests: AtomicU64,
}

#[derive(Debug, Default)]
struct Cache {
    held: HashSet<u64>,
    order: VecDeque<u64>,
    last_event_id: u64,
}

impl Cache {
    fn event(&mut self, target: Target, change: Change) -> KvEvent {
        self.last_event_id += 1;
        KvEvent {
            target,
            event_id: self.last_event_id,
            change,
        }
    }

    /// Stores what it does not hold yet, evicting the oldest; the events say both.
    fn store(&mut self, target: Target, blocks: &[Block], capacity: usize) -> Vec<KvEvent> {
        let mut events = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            if !self.held.insert(block.sequence) {
                continue;
            }
            self.order.push_back(block.sequence);
            events.push(self.event(target, Change::stored(blocks, index)));
            if self.order.len() > capacity
                && let Some(sequence) = self.order.pop_front()
            {
                self.held.remove(&sequence);
                events.push(self.event(target, Change::Removed { sequence }));
            }
        }
        events
    }

    /// Evicts everything.
    fn clear(&mut self, target: Target) -> Vec<KvEvent> {
        self.held.clear();
        let evicted = std::mem::take(&mut self.order);
        evicted
            .into_iter()
            .map(|sequence| self.event(target, Change::Removed { sequence }))
            .collect()
    }
}

impl Worker {
    /// Starts a worker on the current runtime; it is registered when this returns.
    pub async fn start(worker_id: u64, client: Option<Client>, config: WorkerConfig) -> Result<Worker> {
        let failed = failed("start a worker");
        let sink = EventSink::open(
            config.event_plane,
            client.as_ref(),
            &config.namespace,
            &config.root,
            worker_id,
        )
        .await?;
        let discovery = Discovery::new(&config.root)?;
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|cause| failed(&cause))?;
        let address = listener.local_addr().map_err(|cause| failed(&cause))?.to_string();
        let instance = Instance {
            worker_id,
            dp_size: config.dp_size,
            address,
        };
        let shared = Arc::new(Shared {
            worker_id,
            config,
            caches: Mutex::default(),
            outbox: Mutex::default(),
            said: Mutex::default(),
            stored: Notify::new(),
            n_requests: AtomicU64::new(0),
        });

        let mut tasks = JoinSet::new();
        tasks.spawn(serve_tcp(shared.clone(), listener));
        if let Some(client) = client {
            let namespace = &shared.config.namespace;
            if shared.config.request_plane == RequestPlane::Nats {
                let subject = request_subject(namespace, worker_id);
                let requests = client.subscribe(subject).await.map_err(|cause| failed(&cause))?;
                tasks.spawn(serve_nats(shared.clone(), client.clone(), requests));
            }
            if shared.config.event_plane == EventPlane::NatsCore {
                let subject = replay_subject(namespace, worker_id);
                let questions = client.subscribe(subject).await.map_err(|cause| failed(&cause))?;
                tasks.spawn(serve_replay(shared.clone(), client.clone(), questions));
            }
            client.flush().await.map_err(|cause| failed(&cause))?;
        }
        tasks.spawn(report(shared.clone(), sink.clone()));
        discovery.register(&instance)?;
        Ok(Worker {
            shared,
            discovery,
            sink,
            tasks,
        })
    }

    /// Its id.
    pub fn worker_id(&self) -> u64 {
        self.shared.worker_id
    }

    /// Requests it has answered.
    pub fn n_requests(&self) -> u64 {
        self.shared.n_requests.load(Ordering::Relaxed)
    }

    /// Leaves: no more requests, and every block it held is reported as removed.
    ///
    /// That must not be lost, or routers would count on caches that no longer exist: over JetStream it is repeated until
    /// the broker has it, however long that takes.
    pub async fn leave(mut self) {
        self.discovery.leave(self.shared.worker_id);
        self.tasks.shutdown().await;
        let worker_id = self.shared.worker_id;
        let farewell: Vec<KvEvent> = lock(&self.shared.caches)
            .iter_mut()
            .flat_map(|(rank, cache)| {
                cache.clear(Target {
                    worker_id,
                    dp_rank: *rank,
                })
            })
            .collect();
        for event in farewell {
            if matches!(self.sink, EventSink::Jetstream(..)) {
                while self.sink.send(&event).await.is_err() {
                    sleep(RETRY_EVERY).await;
                }
            } else if timeout(RETRY_EVERY, self.sink.send(&event)).await.is_err() {
                return;
            }
        }
    }
}

const RETRY_EVERY: Duration = Duration::from_millis(100);

impl Shared {
    async fn generate(&self, request: &Request) -> Response {
        let begun = Instant::now();
        let target = Target {
            worker_id: self.worker_id,
            dp_rank: request.dp_rank,
        };
        let blocks = blocks(&request.tokens);
        let events =
            lock(&self.caches)
                .entry(request.dp_rank)
                .or_default()
                .store(target, &blocks, self.config.capacity);
        lock(&self.outbox).extend(events);
        self.stored.notify_one();
        sleep_until(begun + self.config.token_time * request.max_tokens).await;
        self.n_requests.fetch_add(1, Ordering::Relaxed);
        Response {
            worker_id: self.worker_id,
            dp_rank: request.dp_rank,
            n_tokens: request.max_tokens,
        }
    }
}

/// Sends what is in the outbox: over plain subjects at once, over everything that keeps events in batches.
async fn report(shared: Arc<Shared>, sink: EventSink) {
    let mut ticks = interval(shared.config.report_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let at_most = if matches!(sink, EventSink::NatsCore(..)) {
            shared.stored.notified().await;
            usize::MAX
        } else {
            ticks.tick().await;
            shared.config.report_at_most
        };
        let batch: Vec<KvEvent> = {
            let mut outbox = lock(&shared.outbox);
            let n = at_most.min(outbox.len());
            outbox.drain(..n).collect()
        };
        for event in batch {
            lock(&shared.said).push(event.clone());
            while sink.send(&event).await.is_err() {
                sleep(RETRY_EVERY).await;
            }
        }
    }
}

async fn serve_tcp(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
                let Ok(request) = serde_json::from_slice::<Request>(&line) else {
                    return;
                };
                line.clear();
                let response = shared.generate(&request).await;
                let mut answer = serde_json::to_vec(&response).unwrap_or_default();
                answer.push(b'\n');
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_nats(shared: Arc<Shared>, client: Client, mut requests: async_nats::Subscriber) {
    let mut answers = JoinSet::new();
    while let Some(message) = requests.next().await {
        let (shared, client) = (shared.clone(), client.clone());
        answers.spawn(async move {
            let (Some(reply), Ok(request)) = (message.reply, serde_json::from_slice::<Request>(&message.payload))
            else {
                return;
            };
            let response = shared.generate(&request).await;
            let _ = client
                .publish(reply, serde_json::to_vec(&response).unwrap_or_default().into())
                .await;
        });
        while answers.try_join_next().is_some() {}
    }
}

async fn serve_replay(shared: Arc<Shared>, client: Client, mut questions: async_nats::Subscriber) {
    while let Some(message) = questions.next().await {
        if let Some(reply) = message.reply {
            let said = serde_json::to_vec(&*lock(&shared.said)).unwrap_or_default();
            let _ = client.publish(reply, said.into()).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_reports_each_block_once_and_evicts_the_oldest() {
        let target = Target {
            worker_id: 1,
            dp_rank: 0,
        };
        let tokens: Vec<u32> = (0..48).collect();
        let blocks = blocks(&tokens);
        let mut cache = Cache::default();
        assert_eq!(cache.store(target, &blocks[..2], 2).len(), 2);
        assert_eq!(cache.store(target, &blocks[..2], 2).len(), 0);
        let events = cache.store(target, &blocks, 2);
        assert_eq!(
            events.iter().map(|event| event.event_id).collect::<Vec<_>>(),
            [3, 4],
            "ids count on without a gap"
        );
        assert_eq!(cache.clear(target).len(), 2);
        assert_eq!(
            events[1].change,
            Change::Removed {
                sequence: blocks[0].sequence
            }
        );
    }
}
