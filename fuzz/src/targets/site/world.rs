//! The world of one worker: a clock that is moved by hand, tasks, calls, Redis.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use http::{Request, Response};
use oauth2_session_filter::config::Config;
use oauth2_session_filter::flow::Io;
use oauth2_session_filter::flow::io::{CallFailed, Conflict, Count, NoRandom, Shared, Version};
use oauth2_session_filter::redis::{Changed, Command, FailoverEvent, Failure, Health, Reply, StreamId};
use oauth2_session_filter::time::Timestamp;

use super::provider::Provider;
use super::redis::Redis;

/// More events than any flow has.
const MAX_EVENTS: usize = 20_000;

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Watcher = Box<dyn Fn(FailoverEvent)>;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct World(Rc<State>);

struct State {
    now: Cell<Timestamp>,
    random: Cell<u64>,
    number: Cell<u64>,
    timers: RefCell<BTreeSet<(Timestamp, u64)>>,
    tasks: RefCell<Vec<(u64, Task)>>,
    woken: Arc<Woken>,
    provider: RefCell<Provider>,
    redis: RefCell<Option<Redis>>,
    watchers: RefCell<Vec<Watcher>>,
    shared: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    calls: Cell<usize>,
}

/// Whether any task has something to do: then all are polled, for there are few.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A flow that was started, and its result.
pub(crate) struct Pending<T> {
    task: u64,
    result: Rc<RefCell<Option<T>>>,
}

impl World {
    pub(crate) fn new(config: &Config, now: Timestamp) -> Self {
        let redis = config.redis.as_ref().map(|redis| Redis::new(&redis.client));
        Self(Rc::new(State {
            now: Cell::new(now),
            random: Cell::new(0),
            number: Cell::new(0),
            timers: RefCell::default(),
            tasks: RefCell::default(),
            woken: Arc::default(),
            provider: RefCell::default(),
            redis: RefCell::new(redis),
            watchers: RefCell::default(),
            shared: RefCell::default(),
            calls: Cell::new(0),
        }))
    }

    /// Accesses the provider.
    pub(crate) fn provider<T>(&self, what: impl FnOnce(&mut Provider) -> T) -> T {
        what(&mut self.0.provider.borrow_mut())
    }

    /// Accesses Redis, if there is one.
    pub(crate) fn with_redis<T>(&self, what: impl FnOnce(&mut Redis) -> T) -> Option<T> {
        self.0.redis.borrow_mut().as_mut().map(what)
    }

    /// How many calls were made.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.get()
    }

    /// Starts a flow, and runs it until it has to wait.
    pub(crate) fn start<T: 'static>(&self, flow: impl Future<Output = T> + 'static) -> Pending<T> {
        let result = Rc::new(RefCell::new(None));
        let to = Rc::clone(&result);
        let task = self.next_number();
        let task_of_flow = Box::pin(async move { *to.borrow_mut() = Some(flow.await) });
        self.0.tasks.borrow_mut().push((task, task_of_flow));
        self.wake();
        self.run();
        Pending { task, result }
    }

    /// The result, if there is one by now.
    pub(crate) fn result<T>(&self, pending: &Pending<T>) -> Option<T> {
        pending.result.borrow_mut().take()
    }

    /// Waits for the result, for any time.
    pub(crate) fn finish<T>(&self, pending: &Pending<T>) -> T {
        for _ in 0..MAX_EVENTS {
            if let Some(result) = self.result(pending) {
                return result;
            }
            assert!(self.advance(None), "a flow waits for nothing");
        }
        panic!("a flow does not end");
    }

    /// The browser is gone.
    pub(crate) fn drop_flow<T>(&self, pending: &Pending<T>) {
        let mut tasks = self.0.tasks.borrow_mut();
        let position = tasks.iter().position(|(task, _)| *task == pending.task);
        let dropped = position.map(|position| tasks.remove(position));
        drop(tasks);
        drop(dropped);
    }

    /// Time passes, and what is due is done.
    pub(crate) fn pass(&self, time: Duration) {
        let end = self.now().after(time);
        for count in 0.. {
            assert!(count < MAX_EVENTS, "there is no end to what is due");
            if !self.advance(Some(end)) {
                break;
            }
        }
        self.0.now.set(end);
    }

    /// Everything that was begun comes to its end.
    pub(crate) fn drain(&self) {
        for _ in 0..MAX_EVENTS {
            if self.0.tasks.borrow().is_empty() {
                return;
            }
            assert!(self.advance(None), "a task waits for nothing");
        }
        panic!("a task does not end");
    }

    /// To the next event, if it is not after `end`.
    fn advance(&self, end: Option<Timestamp>) -> bool {
        let timer = self.0.timers.borrow().first().map(|(at, _)| *at);
        let redis = self.0.redis.borrow().as_ref().and_then(Redis::next_wake);
        let Some(next) = [timer, redis].into_iter().flatten().min() else { return false };
        if end.is_some_and(|end| next > end) {
            return false;
        }
        self.0.now.set(self.now().max(next));
        self.wake();
        self.run();
        let now = self.now();
        self.0.timers.borrow_mut().retain(|(at, _)| *at > now);
        true
    }

    fn wake(&self) {
        self.0.woken.0.store(true, Ordering::Relaxed);
    }

    /// Polls every task until no task is woken.
    fn run(&self) {
        for count in 0.. {
            assert!(count < MAX_EVENTS, "a task wakes itself again and again");
            self.run_redis();
            if !self.0.woken.0.swap(false, Ordering::Relaxed) {
                break;
            }
            let waker = Waker::from(Arc::clone(&self.0.woken));
            let mut tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
            tasks.retain_mut(|(_, task)| task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let mut spawned = self.0.tasks.borrow_mut();
            tasks.append(&mut spawned);
            *spawned = tasks;
        }
    }

    fn run_redis(&self) {
        let now = self.now();
        let events = self.with_redis(|redis| {
            redis.run(now);
            std::mem::take(&mut redis.failover_events)
        });
        for event in events.into_iter().flatten() {
            self.0.watchers.borrow().iter().for_each(|watcher| watcher(event));
        }
    }

    fn next_number(&self) -> u64 {
        self.0.number.set(self.0.number.get() + 1);
        self.0.number.get()
    }
}

impl Io for World {
    fn now(&self) -> Timestamp {
        self.0.now.get()
    }

    /// The same numbers in every run, and no two alike (splitmix64).
    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        for chunk in bytes.chunks_mut(8) {
            let state = self.0.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.0.random.set(state);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }

    fn call(
        &self,
        request: Request<Vec<u8>>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response<Vec<u8>>, CallFailed>> + 'static {
        let world = self.clone();
        async move {
            world.0.calls.set(world.0.calls.get() + 1);
            let (delay, answer) = world.0.provider.borrow_mut().answer(&request, world.now());
            world.sleep(delay.min(timeout)).await;
            if delay > timeout { Err(CallFailed) } else { answer }
        }
    }

    fn redis(&self, command: Command) -> impl Future<Output = Result<Reply, Failure>> + 'static {
        let now = self.now();
        let answer = self.with_redis(|redis| redis.send(command, now));
        self.wake();
        async move {
            match answer {
                Some(answer) => answer.await.unwrap_or(Err(Failure::Lost)),
                None => Err(Failure::Unreachable),
            }
        }
    }

    fn redis_health(&self) -> Health {
        let now = self.now();
        self.with_redis(|redis| redis.health(now)).unwrap_or_default()
    }

    fn watch_redis(&self, hook: impl Fn(FailoverEvent) + 'static) {
        self.0.watchers.borrow_mut().push(Box::new(hook));
    }

    fn count(&self, _: Count) {}

    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + 'static {
        Sleep { world: self.clone(), timer: (self.now().after(delay), self.next_number()) }
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let number = self.next_number();
        self.0.tasks.borrow_mut().push((number, Box::pin(task)));
        self.wake();
    }

    fn watch_redis_changes(&self, _hook: impl Fn(&Changed) + 'static) {}

    fn redis_tracks(&self, _key: &[u8]) -> Option<StreamId> {
        None
    }

    fn redis_serves(&self, _key: &[u8], _stream: StreamId) -> bool {
        false
    }

    fn watch_redis_auth(&self, _hook: impl Fn() + 'static) {}

    fn set_redis_credentials(
        &self,
        _of: oauth2_session_filter::redis::Servers,
        _credentials: &oauth2_session_filter::redis::Credentials,
    ) {
    }

    fn every(&self, _period: Duration, _action: impl Fn() + 'static) {}

    fn shared(&self, key: &str) -> Shared {
        match self.0.shared.borrow().get(key) {
            Some((value, version)) => Shared { value: value.clone(), version: Some(*version) },
            None => Shared::default(),
        }
    }

    fn set_shared(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
        let mut shared = self.0.shared.borrow_mut();
        let now = shared.get(key).map(|(_, version)| *version);
        // As the host does: a write without a version is unconditional.
        if version.is_some() && version != now {
            return Err(Conflict);
        }
        shared.insert(key.to_owned(), (value.to_vec(), now.unwrap_or(0) + 1));
        Ok(())
    }
}

struct Sleep {
    world: World,
    timer: (Timestamp, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.world.now() >= self.timer.0 {
            return Poll::Ready(());
        }
        self.world.0.timers.borrow_mut().insert(self.timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.world.0.timers.borrow_mut().remove(&self.timer);
    }
}
