//! HTTP calls of flows: asked for at any time, made by the root context, and matched with their answers.
//!
//! ```text
//! flow ── call ──► queue ── dispatch ──► Envoy ── token
//!      ◄── answer ──────────── answered(token) ───┘
//! ```
//!
//! Envoy ties a call to the context that makes it. It cancels a call that a request made together with that request,
//! and another request that waits for the same answer would get none. So the root context makes all calls, at its next
//! tick.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use futures_channel::oneshot;
use http::{Request, Response};
use log::error;

use super::Host;
use super::rate::LogLimit;

/// Carries the answer of a call to the flow that waits for it. Dropped if there is none.
type Answer = oneshot::Sender<Response<Vec<u8>>>;

/// A call that a flow asked for.
struct Call {
    request: Request<Vec<u8>>,
    timeout: Duration,
    answer: Answer,
}

/// The calls of one root context.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: RefCell<Vec<Call>>,
    /// The calls that were made, by Envoy's token.
    made: RefCell<HashMap<u32, Answer>>,
    failures: LogLimit,
}

impl Outbox {
    /// Asks for a call; gives its answer, or `None` if none came.
    pub(crate) fn call(
        &self,
        request: Request<Vec<u8>>,
        timeout: Duration,
    ) -> impl Future<Output = Option<Response<Vec<u8>>>> + use<> {
        let (answer, receiver) = oneshot::channel();
        self.queue.borrow_mut().push(Call { request, timeout, answer });
        async move { receiver.await.ok() }
    }

    /// Whether no call waits to be made.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Makes the calls that were asked for.
    pub(crate) fn dispatch(&self, host: &impl Host) {
        for call in self.queue.take() {
            if call.answer.is_canceled() {
                continue; // its flow is gone
            }
            match host.call(&call.request, call.timeout) {
                Ok(token) => {
                    self.made.borrow_mut().insert(token, call.answer);
                }
                Err(why) => {
                    if let Some(left_out) = self.failures.next(host.steady_now()) {
                        error!("bridge: no call is made: {why}{left_out}");
                    }
                }
            }
        }
    }

    /// Hands an answer to the flow that waits for it; `None` if the call failed.
    pub(crate) fn answered(&self, token: u32, response: Option<Response<Vec<u8>>>) {
        let waiting = self.made.borrow_mut().remove(&token);
        if let (Some(answer), Some(response)) = (waiting, response) {
            // The flow may be gone by now.
            let _ = answer.send(response);
        }
    }
}
