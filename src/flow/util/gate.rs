//! A limit for calls of one kind to the provider: so many at the same time, and the others wait in line.
//!
//! ```text
//! enter ─┬─ a place is free ─────────────────────────────► Permit ── dropped ──► the first in line
//!        ├─ in line ─┬─ first, and a permit was dropped ──► Permit
//!        │           └─ not first within `patience` ──────► Unavailable::Busy
//!        └─ the line is full ─────────────────────────────► Unavailable::Busy
//! ```
//!
//! Envoy has one limit for all calls to the provider, which all workers share. Each kind of call has a gate of its own
//! in front of it, so that no kind takes the places of another: strangers can make code grants, but not refreshes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};

use crate::flow::io::{Count, Io};
use crate::flow::outcome::Unavailable;

/// So many calls of one kind are under way in a worker at most. With 3 kinds, metadata and keys that is 26, and Envoy's
/// limit for the provider (`circuit_breakers`) has to be above that for all workers together.
const AT_ONCE: usize = 8;

/// So many callers wait in line at most. What a caller holds is mostly the head of its request.
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
    /// Those who wait. Where some do, no place is free.
    line: RefCell<VecDeque<oneshot::Sender<Permit>>>,
}

/// A place that is taken until this is dropped.
pub(in crate::flow) struct Permit(Rc<Places>);

impl<I: Io> Gate<I> {
    /// A gate at which a caller waits so long at most. `busy` is counted for each one who does not get in.
    pub(in crate::flow) fn new(io: &I, patience: Duration, busy: Count) -> Self {
        let places = Places { free: Cell::new(AT_ONCE), line: RefCell::default() };
        Self { io: io.clone(), patience, busy, places: Rc::new(places) }
    }

    /// Waits for a place, in the order of arrival. Who is dropped meanwhile leaves the line.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] where the line is too long or too slow.
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

    /// The last place in line; none where it is too long.
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

    /// The first in line who still waits.
    fn next(&self) -> Option<oneshot::Sender<Permit>> {
        let mut line = self.line.borrow_mut();
        std::iter::from_fn(|| line.pop_front()).find(|turn| !turn.is_canceled())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match self.0.next() {
            // A permit that arrives nowhere is dropped in its turn, and then is the next one's.
            Some(turn) => drop(turn.send(Self(Rc::clone(&self.0)))),
            None => self.0.free.set(self.0.free.get().saturating_add(1)),
        }
    }
}
