//! The task runner: flows that wait, polled when what they wait for has come.
//!
//! Envoy calls the module on one thread at a time. A callback fills a slot (an answer arrived, a
//! timer is due), the slot wakes its task, and the callback polls what is ready before it returns.
//!
//! # The budget
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
//! Some hundred of them overflow the stack, and the VM dies. An outgoing call that fails at once comes back in the same
//! way, with a callback that could run more tasks. Only a tick certainly begins on an empty stack. So there is a
//! [`BUDGET`] for tasks and calls, which a tick fills up; what is left over waits for the next tick, in order.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// How many tasks run, and calls go out, between two ticks. docs/architecture.md has the host's limit as it was measured.
pub(crate) const BUDGET: usize = 48;

/// A future that the runner owns.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Names a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskId(u64);

/// The tasks of one root context.
pub(crate) struct Tasks {
    next: Cell<u64>,
    waiting: RefCell<HashMap<TaskId, Task>>,
    ready: Arc<Ready>,
    budget: Cell<usize>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            next: Cell::default(),
            waiting: RefCell::default(),
            ready: Arc::default(),
            budget: Cell::new(BUDGET),
        }
    }
}

/// The tasks that somebody woke. `Waker` asks for `Send + Sync`; there is only one thread.
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

    /// Drops a task, and with it whatever it waits for.
    pub(crate) fn cancel(&self, id: TaskId) {
        // Dropped after the borrow ends: a destructor may come back to the runner.
        let task = self.waiting.borrow_mut().remove(&id);
        drop(task);
    }

    /// Fills the budget up. Only for the host's tick (see above).
    pub(crate) fn refill(&self) {
        self.budget.set(BUDGET);
    }

    /// Takes one from the budget; false if it is used up.
    pub(crate) fn spend(&self) -> bool {
        let rest = self.budget.get().checked_sub(1);
        self.budget.set(rest.unwrap_or(0));
        rest.is_some()
    }

    /// Whether a task may run before the next tick.
    pub(crate) fn has_budget(&self) -> bool {
        self.budget.get() > 0
    }

    /// Whether it is time for a tick to fill the budget up, so that a busy worker does not have to wait for one.
    pub(crate) fn is_low(&self) -> bool {
        self.budget.get() <= BUDGET / 2
    }

    /// Polls the tasks that are ready, in order, until none is or the budget is used up.
    pub(crate) fn run(&self) {
        while self.is_ready() && self.spend() {
            self.poll_next();
        }
    }

    /// Whether a task waits to be polled.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn poll_next(&self) {
        // Taken out while it runs, so that it may spawn and cancel others. Some that were woken are gone.
        let taken = std::iter::from_fn(|| self.ready.pop())
            .find_map(|id| self.waiting.borrow_mut().remove(&id).map(|task| (id, task)));
        let Some((id, mut task)) = taken else { return };
        let waker = self.waker(id);
        if task.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            self.insert(id, task);
        }
    }

    fn waker(&self, id: TaskId) -> Waker {
        Waker::from(Arc::new(WakeTask { id, ready: Arc::clone(&self.ready) }))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    /// So many tasks that each note their number when they run.
    fn noting(tasks: &Tasks, count: usize) -> Rc<RefCell<Vec<usize>>> {
        let ran = Rc::new(RefCell::new(Vec::new()));
        for number in 0..count {
            let ran = Rc::clone(&ran);
            tasks.spawn(Box::pin(async move { ran.borrow_mut().push(number) }));
        }
        ran
    }

    #[test]
    fn a_burst_runs_in_portions_and_in_order() {
        let tasks = Tasks::default();
        let ran = noting(&tasks, 5000);
        let mut ticks = 0;
        while tasks.is_ready() {
            let before = ran.borrow().len();
            // However many callbacks come before the next tick.
            tasks.run();
            tasks.run();
            assert!(ran.borrow().len() - before <= BUDGET);
            tasks.refill();
            ticks += 1;
        }
        assert_eq!(*ran.borrow(), (0..5000).collect::<Vec<_>>());
        assert_eq!(ticks, 5000_usize.div_ceil(BUDGET));
    }

    #[test]
    fn calls_and_tasks_share_the_budget() {
        let tasks = Tasks::default();
        let ran = noting(&tasks, BUDGET);
        assert!((0..BUDGET - 1).all(|_| tasks.spend()));
        tasks.run();
        assert_eq!(ran.borrow().len(), 1);
        assert!(!tasks.spend() && tasks.is_low());
        tasks.refill();
        assert!(!tasks.is_low() && tasks.spend());
    }

    #[test]
    fn a_cancelled_task_costs_nothing() {
        let tasks = Tasks::default();
        for _ in 0..5000 {
            let (id, waker) = tasks.prepare();
            tasks.insert(id, Box::pin(async {}));
            waker.wake();
            tasks.cancel(id);
        }
        let ran = noting(&tasks, 1);
        tasks.run();
        assert_eq!(ran.borrow().len(), 1);
    }
}
