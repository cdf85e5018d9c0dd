//! The C interface for engines that are not written in Rust.
//!
//! A function with C's calling convention cannot unwind: whatever panics in it ends the process with SIGABRT. That is
//! the abort of this example, kept on purpose: the interface has no way to say that the broker did not answer.

use kv_router_core::event::Target;
use kv_router_core::publisher::EventPublisher;
use kv_router_core::runtime::shared_publisher;

/// Publishes the full blocks of `tokens` as stored by rank 0 of a worker, and returns the next event id.
///
/// Without a publisher it uses the one that the process shares.
///
/// # Safety
/// `publisher` is null or comes from `DistributedRuntime.publisher_address` of a runtime that is still there, and
/// `tokens` points to `n_tokens` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kv_event_publish_stored(
    publisher: *const EventPublisher,
    worker_id: u64,
    first_event_id: u64,
    tokens: *const u32,
    n_tokens: usize,
) -> u64 {
    let target = Target { worker_id, dp_rank: 0 };
    // SAFETY: the caller's word, above.
    let (own, tokens) = unsafe { (publisher.as_ref(), std::slice::from_raw_parts(tokens, n_tokens)) };
    let shared = shared_publisher();
    let publisher = own
        .or_else(|| shared.get())
        .expect("a runtime was made before the first event");
    publisher
        .publish_stored(target, first_event_id, tokens)
        .expect("the broker keeps the event")
}
