//! Events from an engine that is not written in Rust: it calls the C interface, which calls this.

use std::time::Duration;

use async_nats::Client;
use tokio::runtime::Handle;

use crate::block::blocks;
use crate::event::{Change, KvEvent, Target};
use crate::plane::{self, EventPlane, EventSink};
use crate::{Result, failed};

/// Longest time the broker may take to keep an event.
const DEADLINE: Duration = Duration::from_millis(500);

/// Publishes into one namespace's stream, through the broker it was made for.
#[derive(Debug)]
pub struct EventPublisher {
    handle: Handle,
    sink: EventSink,
}

impl EventPublisher {
    /// A publisher for a namespace; does not wait for the broker.
    pub fn new(handle: Handle, client: &Client, namespace: &str) -> EventPublisher {
        // A context starts a task of its own, on the runtime that is entered.
        let entered = handle.enter();
        let context = async_nats::jetstream::new(client.clone());
        drop(entered);
        EventPublisher {
            handle,
            sink: EventSink::Jetstream(context, plane::event_subject(namespace)),
        }
    }

    /// Makes sure that the stream is there.
    pub async fn open(client: &Client, namespace: &str) -> Result<()> {
        plane::event_stream(client, namespace).await.map(|_| ())
    }

    /// Publishes the blocks of a sequence as stored, and waits until the broker has each.
    pub fn publish_stored(&self, target: Target, first_event_id: u64, tokens: &[u32]) -> Result<u64> {
        let blocks = blocks(tokens);
        let mut event_id = first_event_id;
        for index in 0..blocks.len() {
            let event = KvEvent {
                target,
                event_id,
                change: Change::stored(&blocks, index),
            };
            self.handle
                .block_on(async { tokio::time::timeout(DEADLINE, self.sink.send(&event)).await })
                .map_err(|cause| failed("publish an event")(&cause))??;
            event_id += 1;
        }
        Ok(event_id)
    }

    /// The plane its events take.
    pub const PLANE: EventPlane = EventPlane::Jetstream;
}
