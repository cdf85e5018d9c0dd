//! How KV events travel: JetStream, core NATS, files, or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::{self, consumer, stream};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::event::KvEvent;
use crate::indexer::Indexer;
use crate::{Result, failed};

/// The way events take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventPlane {
    /// A stream that the broker keeps: every event is acknowledged, and a late reader gets all of them.
    Jetstream,
    /// Plain subjects: a late reader asks the workers for what it missed.
    NatsCore,
    /// One file a worker, appended to by it and followed by the readers.
    File,
    /// None: the router believes its own decisions.
    None,
}

/// How often a reader looks for new lines in the files.
const FILE_POLL: Duration = Duration::from_millis(2);

/// The subject of a namespace's events.
pub fn event_subject(namespace: &str) -> String {
    format!("kv.{namespace}.events")
}

/// The subject on which a worker says again what it has said so far.
pub fn replay_subject(namespace: &str, worker_id: u64) -> String {
    format!("kv.{namespace}.replay.{worker_id}")
}

/// Connects to the broker.
pub async fn connect(url: &str) -> Result<Client> {
    async_nats::ConnectOptions::new()
        .connection_timeout(Duration::from_secs(5))
        .connect(url)
        .await
        .map_err(|cause| failed(&format!("connect to the broker at {url}"))(&cause))
}

/// The stream of a namespace's events, made if it is not there.
pub async fn event_stream(client: &Client, namespace: &str) -> Result<(jetstream::Context, stream::Stream)> {
    let context = jetstream::new(client.clone());
    let stream = context
        .get_or_create_stream(stream::Config {
            name: format!("kv-{namespace}"),
            subjects: vec![event_subject(namespace)],
            storage: stream::StorageType::Memory,
            ..stream::Config::default()
        })
        .await
        .map_err(|cause| failed("open the stream of events")(&cause))?;
    Ok((context, stream))
}

/// Where a worker's events go.
#[derive(Clone, Debug)]
pub enum EventSink {
    /// Into the stream, each acknowledged.
    Jetstream(jetstream::Context, String),
    /// To whoever listens.
    NatsCore(Client, String),
    /// Behind the file's last line.
    File(PathBuf),
    /// Nowhere.
    None,
}

impl EventSink {
    /// The sink of a plane for one worker; `client` is there for planes that use the broker.
    pub async fn open(
        plane: EventPlane,
        client: Option<&Client>,
        namespace: &str,
        root: &Path,
        worker_id: u64,
    ) -> Result<EventSink> {
        let broker = || client.ok_or_else(|| crate::Error("this event plane needs a broker".into()));
        Ok(match plane {
            EventPlane::Jetstream => {
                let (context, _) = event_stream(broker()?, namespace).await?;
                EventSink::Jetstream(context, event_subject(namespace))
            }
            EventPlane::NatsCore => EventSink::NatsCore(broker()?.clone(), event_subject(namespace)),
            EventPlane::File => {
                let dir = event_dir(root);
                std::fs::create_dir_all(&dir).map_err(|cause| failed("make the directory of events")(&cause))?;
                EventSink::File(dir.join(format!("{worker_id}.jsonl")))
            }
            EventPlane::None => EventSink::None,
        })
    }

    /// Sends one event; with JetStream it is kept by the broker when this returns.
    pub async fn send(&self, event: &KvEvent) -> Result<()> {
        let text = serde_json::to_vec(event).map_err(|cause| failed("write an event")(&cause))?;
        match self {
            EventSink::Jetstream(context, subject) => {
                let failed = failed("publish an event");
                let kept = context
                    .publish(subject.clone(), text.into())
                    .await
                    .map_err(|cause| failed(&cause))?;
                kept.await.map_err(|cause| failed(&cause))?;
            }
            EventSink::NatsCore(client, subject) => {
                let failed = failed("publish an event");
                client
                    .publish(subject.clone(), text.into())
                    .await
                    .map_err(|cause| failed(&cause))?;
                client.flush().await.map_err(|cause| failed(&cause))?;
            }
            EventSink::File(path) => {
                let line = [text.as_slice(), b"\n"].concat();
                let append = async {
                    let mut file = tokio::fs::OpenOptions::new()
                        .create(true)
                        .append(true)
                        .open(path)
                        .await?;
                    file.write_all(&line).await?;
                    file.flush().await
                };
                append.await.map_err(|cause| failed("append an event")(&cause))?;
            }
            EventSink::None => {}
        }
        Ok(())
    }
}

/// Feeds a plane's events to an indexer until it is cancelled; returns once it is listening.
pub async fn follow(
    plane: EventPlane,
    client: Option<&Client>,
    namespace: &str,
    root: &Path,
    worker_ids: &[u64],
    indexer: Arc<Indexer>,
) -> Result<Option<tokio::task::JoinHandle<()>>> {
    let broker = || {
        client
            .cloned()
            .ok_or_else(|| crate::Error("this event plane needs a broker".into()))
    };
    let task = match plane {
        EventPlane::Jetstream => {
            let client = broker()?;
            let (_, stream) = event_stream(&client, namespace).await?;
            let failed = failed("follow the stream of events");
            let consumer: consumer::Consumer<consumer::push::OrderedConfig> = stream
                .create_consumer(consumer::push::OrderedConfig {
                    deliver_subject: client.new_inbox(),
                    ..consumer::push::OrderedConfig::default()
                })
                .await
                .map_err(|cause| failed(&cause))?;
            let mut messages = consumer.messages().await.map_err(|cause| failed(&cause))?;
            tokio::spawn(async move {
                while let Some(message) = messages.next().await {
                    if let Ok(message) = message {
                        receive(&indexer, &message.payload);
                    }
                }
            })
        }
        EventPlane::NatsCore => {
            let client = broker()?;
            let failed = failed("listen for events");
            let mut live = client
                .subscribe(event_subject(namespace))
                .await
                .map_err(|cause| failed(&cause))?;
            for worker_id in worker_ids {
                let said = client
                    .request(replay_subject(namespace, *worker_id), "".into())
                    .await
                    .map_err(|cause| failed(&cause))?;
                for event in serde_json::from_slice::<Vec<KvEvent>>(&said.payload).unwrap_or_default() {
                    indexer.receive(event);
                }
            }
            tokio::spawn(async move {
                while let Some(message) = live.next().await {
                    receive(&indexer, &message.payload);
                }
            })
        }
        EventPlane::File => tokio::spawn(follow_files(event_dir(root), indexer)),
        EventPlane::None => return Ok(None),
    };
    Ok(Some(task))
}

fn receive(indexer: &Indexer, payload: &[u8]) {
    if let Ok(event) = serde_json::from_slice(payload) {
        indexer.receive(event);
    }
}

fn event_dir(root: &Path) -> PathBuf {
    root.join("events")
}

async fn follow_files(dir: PathBuf, indexer: Arc<Indexer>) {
    let mut read_to: std::collections::HashMap<PathBuf, u64> = std::collections::HashMap::new();
    let mut ticks = tokio::time::interval(FILE_POLL);
    loop {
        ticks.tick().await;
        let paths: Vec<PathBuf> = std::fs::read_dir(&dir)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        for path in paths {
            let offset = read_to.entry(path.clone()).or_default();
            if let Ok(added) = read_from(&path, *offset).await {
                // A line without its end is still being written.
                let whole = added.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                for line in added[..whole]
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                {
                    receive(&indexer, line);
                }
                *offset += whole as u64;
            }
        }
    }
}

async fn read_from(path: &Path, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(std::io::SeekFrom::Start(offset)).await?;
    let mut added = Vec::new();
    file.read_to_end(&mut added).await?;
    Ok(added)
}
