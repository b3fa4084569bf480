//! A document of the provider that a worker caches. It is fetched when it is needed, once for all that wait for it, and
//! renewed in the background while the old one is still used.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::Shared;

use crate::flow::io::Io;
use crate::flow::outcome::Unavailable;
use crate::time::Timestamp;

/// A document that is older than this is renewed the next time it is needed.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// How long the filter does not ask again after a failure, so that it does not flood a provider that is down.
const BACKOFF: Duration = Duration::from_secs(1);

/// How long the filter does not fetch the document again if it lacks something (a key).
const REFETCH: Duration = Duration::from_secs(10);

/// One document, empty at first. Clones share it.
pub(in crate::flow) struct CachedDocument<T>(Rc<RefCell<State<T>>>);

struct State<T> {
    value: Option<Rc<T>>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
    /// Why the last fetch failed.
    failure: Option<Unavailable>,
    running: Option<Running<T>>,
}

/// The result of the fetch that runs.
type Running<T> = Shared<oneshot::Receiver<Result<Rc<T>, Unavailable>>>;

impl<T: 'static> CachedDocument<T> {
    /// The document; fetched with `fetch` if there is none yet.
    pub(in crate::flow) async fn get<I: Io, F>(
        &self,
        io: &I,
        fetch: impl FnOnce() -> F,
    ) -> Result<Rc<T>, Unavailable>
    where
        F: Future<Output = Result<T, Unavailable>> + 'static,
    {
        let now = io.now();
        let (value, is_fresh) = {
            let state = self.0.borrow();
            (state.value.clone(), is_within(state.fetched_at, FRESH, now))
        };
        let Some(value) = value else {
            return match self.fetch(io, BACKOFF, fetch) {
                Some(running) => finish(running).await,
                None => Err(self.failure()),
            };
        };
        if !is_fresh {
            // No request waits for this: the old document is used until the new one is here.
            let _ = self.fetch(io, REFETCH, fetch);
        }
        Ok(value)
    }

    /// The document as the provider has it now, unless it was fetched a moment ago.
    pub(in crate::flow) async fn again<I: Io, F>(
        &self,
        io: &I,
        fetch: impl FnOnce() -> F,
    ) -> Result<Rc<T>, Unavailable>
    where
        F: Future<Output = Result<T, Unavailable>> + 'static,
    {
        match self.fetch(io, REFETCH, fetch) {
            Some(running) => finish(running).await,
            None => self.0.borrow().value.clone().ok_or_else(|| self.failure()),
        }
    }

    /// The fetch that is running, or a new one; none if the last one began less than `pause` ago.
    fn fetch<I: Io, F>(&self, io: &I, pause: Duration, fetch: impl FnOnce() -> F) -> Option<Running<T>>
    where
        F: Future<Output = Result<T, Unavailable>> + 'static,
    {
        let mut state = self.0.borrow_mut();
        if let Some(running) = &state.running {
            return Some(running.clone());
        }
        if is_within(state.tried_at, pause, io.now()) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let running = receiver.shared();
        state.running = Some(running.clone());
        let (fetched, fetch, clock) = (self.clone(), fetch(), io.clone());
        // A task of its own: the request that asked first may be gone before the others have their answer.
        io.spawn(async move {
            let value = fetch.await.map(Rc::new);
            fetched.finished(value.clone(), clock.now());
            let _ = sender.send(value);
        });
        Some(running)
    }

    fn finished(&self, value: Result<Rc<T>, Unavailable>, now: Timestamp) {
        let mut state = self.0.borrow_mut();
        state.running = None;
        state.tried_at = Some(now);
        state.failure = value.as_ref().err().copied();
        if let Ok(value) = value {
            state.value = Some(value);
            state.fetched_at = Some(now);
        }
    }

    fn failure(&self) -> Unavailable {
        self.0.borrow().failure.unwrap_or(Unavailable::Provider)
    }
}

async fn finish<T>(running: Running<T>) -> Result<Rc<T>, Unavailable> {
    running.await.unwrap_or(Err(Unavailable::Provider))
}

fn is_within(event: Option<Timestamp>, period: Duration, now: Timestamp) -> bool {
    event.is_some_and(|event| event.was_within(period, now))
}

impl<T> Clone for CachedDocument<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for CachedDocument<T> {
    fn default() -> Self {
        let state = State { value: None, fetched_at: None, tried_at: None, failure: None, running: None };
        Self(Rc::new(RefCell::new(state)))
    }
}
