//! A limit for work of one kind, such as calls to the provider: some at the same time, and the others wait in line.
//!
//! ```text
//! enter ─┬─ a place is free ─────────────────────────────► Permit ── dropped ──► the first in line
//!        ├─ in line ─┬─ first, and a permit was dropped ──► Permit
//!        │           └─ not first within `patience` ──────► Unavailable::Busy
//!        └─ the line is full ─────────────────────────────► Unavailable::Busy
//! ```
//!
//! Envoy has one limit for all calls to the provider, which all workers share. Each kind of call has its own gate in front
//! of it, so that no kind takes the places of another. Otherwise a client without a session could block refreshes by code
//! grants.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};

use crate::flow::io::{Count, Io};
use crate::flow::outcome::Unavailable;

/// The most calls of one kind that a worker has under way. With 3 kinds, metadata and keys that is 26. Envoy's limit
/// for the provider (`circuit_breakers`) has to be above that for all workers together.
const AT_ONCE: usize = 8;

/// The most callers that wait in line. A caller holds little more than the head of its request.
const IN_LINE: usize = 256;

/// The gate of one kind of call.
pub(in crate::flow) struct Gate<I> {
    io: I,
    patience: Duration,
    busy: Count,
    places: Rc<Places>,
}

struct Places {
    free: Cell<usize>,
    /// The callers that wait. If there are any, no place is free.
    line: RefCell<VecDeque<oneshot::Sender<Permit>>>,
}

/// A place. It is free again as soon as this is dropped.
pub(in crate::flow) struct Permit(Rc<Places>);

impl<I: Io> Gate<I> {
    /// A gate at which a caller waits for `patience` at most. `busy` is counted for each caller that does not get in.
    pub(in crate::flow) fn new(io: &I, patience: Duration, busy: Count) -> Self {
        let places = Places { free: Cell::new(AT_ONCE), line: RefCell::default() };
        Self { io: io.clone(), patience, busy, places: Rc::new(places) }
    }

    /// Waits for a place, in the order of arrival. A caller that is dropped meanwhile leaves the line.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] if the line is too long or too slow.
    pub(in crate::flow) async fn enter(&self) -> Result<Permit, Unavailable> {
        if let Some(permit) = Places::take(&self.places) {
            return Ok(permit);
        }
        if let Some(turn) = self.places.line_up() {
            let give_up = pin!(self.io.sleep(self.patience));
            if let Either::Left((Ok(permit), _)) = select(turn, give_up).await {
                return Ok(permit);
            }
        }
        self.io.count(self.busy);
        Err(Unavailable::Busy)
    }
}

impl Places {
    fn take(places: &Rc<Self>) -> Option<Permit> {
        places.free.set(places.free.get().checked_sub(1)?);
        Some(Permit(Rc::clone(places)))
    }

    /// The last place in line; none if the line is full.
    fn line_up(&self) -> Option<oneshot::Receiver<Permit>> {
        let mut line = self.line.borrow_mut();
        if line.len() >= IN_LINE {
            line.retain(|turn| !turn.is_canceled());
        }
        if line.len() >= IN_LINE {
            return None;
        }
        let (turn, receiver) = oneshot::channel();
        line.push_back(turn);
        Some(receiver)
    }

    /// The first caller in line that still waits.
    fn next(&self) -> Option<oneshot::Sender<Permit>> {
        let mut line = self.line.borrow_mut();
        std::iter::from_fn(|| line.pop_front()).find(|turn| !turn.is_canceled())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match self.0.next() {
            // If the receiver is gone, the permit is dropped here in its turn, and goes to the next one.
            Some(turn) => drop(turn.send(Self(Rc::clone(&self.0)))),
            None => self.0.free.set(self.0.free.get().saturating_add(1)),
        }
    }
}
