//! The task runner: flows that wait, polled when what they wait for has come.
//!
//! Envoy calls the module on one thread at a time. A callback fills a slot (an answer arrived, a
//! timer is due), the slot wakes its task, and the callback polls what is ready before it returns.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that the runner owns.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Names a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskId(u64);

/// The tasks of one root context.
#[derive(Default)]
pub(crate) struct Tasks {
    next: Cell<u64>,
    waiting: RefCell<HashMap<TaskId, Task>>,
    ready: Arc<Ready>,
}

/// The tasks that somebody woke. `Waker` asks for `Send + Sync`; there is only one thread.
#[derive(Default)]
struct Ready(Mutex<Vec<TaskId>>);

impl Ready {
    fn push(&self, id: TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(id);
    }

    fn take(&self) -> Vec<TaskId> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

struct WakeTask {
    id: TaskId,
    ready: Arc<Ready>,
}

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.id);
    }
}

impl Tasks {
    /// A name and a waker for a future that is polled before it is [`insert`](Self::insert)ed.
    pub(crate) fn prepare(&self) -> (TaskId, Waker) {
        let id = TaskId(self.next.get());
        self.next.set(id.0.wrapping_add(1));
        (id, self.waker(id))
    }

    /// Keeps a future that is pending under a name that [`prepare`](Self::prepare) gave.
    pub(crate) fn insert(&self, id: TaskId, task: Task) {
        self.waiting.borrow_mut().insert(id, task);
    }

    /// Adds a task to be polled by the next [`run`](Self::run).
    pub(crate) fn spawn(&self, task: Task) {
        let (id, _) = self.prepare();
        self.insert(id, task);
        self.ready.push(id);
    }

    /// Drops a task, and with it whatever it waits for.
    pub(crate) fn cancel(&self, id: TaskId) {
        // Dropped after the borrow ends: a destructor may come back to the runner.
        let task = self.waiting.borrow_mut().remove(&id);
        drop(task);
    }

    /// Polls every task that is ready, until none is.
    pub(crate) fn run(&self) {
        while !self.ready.is_empty() {
            for id in self.ready.take() {
                self.poll(id);
            }
        }
    }

    /// Whether a task waits to be polled.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn poll(&self, id: TaskId) {
        // Taken out while it runs, so that it may spawn and cancel others.
        let Some(mut task) = self.waiting.borrow_mut().remove(&id) else {
            return;
        };
        let waker = self.waker(id);
        if task.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            self.insert(id, task);
        }
    }

    fn waker(&self, id: TaskId) -> Waker {
        Waker::from(Arc::new(WakeTask { id, ready: Arc::clone(&self.ready) }))
    }
}
