//! The task runner: it polls the flows that wait.
//!
//! Envoy calls the module on one thread at a time. A callback fills a slot (an answer arrived, a timer is due), the
//! slot wakes its task, and the callback polls the tasks that are ready before it returns.
//!
//! # Portions
//!
//! A task that ends answers or resumes its request. Envoy carries that out after the callback, and each inside the
//! one before it:
//!
//! ```text
//! callback of the root context: 3 tasks end
//!   └ reply 1 ── on_http_response_headers
//!       └ reply 2 ── on_http_response_headers
//!           └ reply 3 ── on_http_response_headers         all of them on one native stack
//! ```
//!
//! A few hundred of them overflow the stack, and the VM dies. So at most a [`PORTION`] runs in one callback of the root
//! context. The rest waits for the next tick, in order.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// How many tasks run in one callback. docs/architecture.md has the measured limit of the host.
pub(crate) const PORTION: usize = 48;

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

/// The tasks that were woken. `Waker` asks for `Send + Sync`; there is only one thread.
#[derive(Default)]
struct Ready(Mutex<VecDeque<TaskId>>);

impl Ready {
    fn push(&self, id: TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(id);
    }

    fn pop(&self) -> Option<TaskId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
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

    /// Drops a task, and with it its timers and commands.
    pub(crate) fn cancel(&self, id: TaskId) {
        // Dropped after the borrow ends: a destructor may come back to the runner.
        let task = self.waiting.borrow_mut().remove(&id);
        drop(task);
    }

    /// Polls the tasks that are ready, in order, at most `limit` of them. Gives how many it polled.
    pub(crate) fn run(&self, limit: usize) -> usize {
        (0..limit).take_while(|_| self.poll_next()).count()
    }

    /// Whether there is no task.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Whether a task waits to be polled.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Polls the first task that is ready; false if there is none.
    fn poll_next(&self) -> bool {
        // A task may be cancelled after it was woken. It is taken out while it runs, so that it may spawn and cancel
        // others.
        let taken = std::iter::from_fn(|| self.ready.pop())
            .find_map(|id| self.waiting.borrow_mut().remove(&id).map(|task| (id, task)));
        let Some((id, mut task)) = taken else { return false };
        let waker = self.waker(id);
        if task.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            self.insert(id, task);
        }
        true
    }

    fn waker(&self, id: TaskId) -> Waker {
        Waker::from(Arc::new(WakeTask { id, ready: Arc::clone(&self.ready) }))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    /// Spawns tasks that note their number when they run.
    fn noting(tasks: &Tasks, count: usize) -> Rc<RefCell<Vec<usize>>> {
        let ran = Rc::new(RefCell::new(Vec::new()));
        for number in 0..count {
            let ran = Rc::clone(&ran);
            tasks.spawn(Box::pin(async move { ran.borrow_mut().push(number) }));
        }
        ran
    }

    #[test]
    fn burst_runs_in_portions_and_in_order() {
        let tasks = Tasks::default();
        let ran = noting(&tasks, 1000);
        assert_eq!(tasks.run(PORTION), PORTION);
        assert_eq!(*ran.borrow(), (0..PORTION).collect::<Vec<_>>());
        while tasks.is_ready() {
            tasks.run(PORTION);
        }
        assert_eq!(*ran.borrow(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn task_that_another_spawns_runs_in_the_same_portion() {
        let tasks = Rc::new(Tasks::default());
        let inner = Rc::clone(&tasks);
        tasks.spawn(Box::pin(async move { inner.spawn(Box::pin(async {})) }));
        assert_eq!(tasks.run(1), 1);
        assert_eq!(tasks.run(PORTION), 1);
    }

    #[test]
    fn cancelled_task_takes_no_place_in_a_portion() {
        let tasks = Tasks::default();
        for _ in 0..PORTION {
            let (id, waker) = tasks.prepare();
            tasks.insert(id, Box::pin(async {}));
            waker.wake();
            tasks.cancel(id);
        }
        let ran = noting(&tasks, 1);
        assert_eq!(tasks.run(PORTION), 1);
        assert_eq!(ran.borrow().len(), 1);
    }
}
