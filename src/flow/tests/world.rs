//! [`Io`] for tests: a clock that is moved by hand, a provider made of closures, a fake Redis, and data that several
//! workers share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};

use super::fake_redis::{FakeRedis, Values};
use crate::flow::io::{CallFailed, Conflict, Count, Io, NoRandom, Shared, Version};
use crate::redis::{
    Changed, Command, Credentials, Endpoint, Event, FailoverEvent, Failure, Health, HealthMonitor, Reply,
    Servers, StreamId, Tls,
};
use crate::runtime::tasks::Tasks;
use crate::runtime::timers::Timers;
use crate::time::Timestamp;

/// How long a call takes, and its answer.
pub(super) type Answer = (Duration, Result<Response<Vec<u8>>, CallFailed>);
type Watcher = Box<dyn Fn(FailoverEvent)>;
type ChangeWatcher = Box<dyn Fn(&Changed)>;
type Network = Rc<RefCell<dyn FnMut(&Request<Vec<u8>>) -> Answer>>;

/// Workers with the same clock, tasks and shared data are one Envoy.
#[derive(Clone)]
pub(super) struct World(Rc<State>);

struct State {
    now: Cell<Timestamp>,
    tasks: Tasks,
    timers: Timers,
    shared: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    network: RefCell<Network>,
    redis: FakeRedis,
    health: RefCell<HealthMonitor>,
    watchers: RefCell<Vec<Watcher>>,
    counts: RefCell<Vec<Count>>,
    has_random: Cell<bool>,
    repeated: RefCell<Vec<Box<dyn Fn()>>>,
    auth_watchers: RefCell<Vec<Box<dyn Fn()>>>,
    credentials: RefCell<Vec<(Servers, Credentials)>>,
    change_watchers: RefCell<Vec<ChangeWatcher>>,
    /// The stream by which Redis tells of changes, and whether that is fresh.
    tracking: Cell<Option<(StreamId, bool)>>,
}

impl World {
    pub(super) fn new(now: Timestamp) -> Self {
        let offline: Network =
            Rc::new(RefCell::new(|_: &Request<Vec<u8>>| (Duration::ZERO, Err(CallFailed))));
        Self(Rc::new(State {
            now: Cell::new(now),
            tasks: Tasks::default(),
            timers: Timers::default(),
            shared: RefCell::default(),
            network: RefCell::new(offline),
            redis: FakeRedis::default(),
            health: RefCell::default(),
            watchers: RefCell::default(),
            counts: RefCell::default(),
            has_random: Cell::new(true),
            repeated: RefCell::default(),
            auth_watchers: RefCell::default(),
            credentials: RefCell::default(),
            change_watchers: RefCell::default(),
            tracking: Cell::default(),
        }))
    }

    pub(super) fn network(&self, network: impl FnMut(&Request<Vec<u8>>) -> Answer + 'static) {
        *self.0.network.borrow_mut() = Rc::new(RefCell::new(network));
    }

    pub(super) fn fake_redis(&self) -> &FakeRedis {
        &self.0.redis
    }

    /// The connection to Redis broke just now.
    pub(super) fn reconnected(&self) {
        let failure = Failure::Unreachable;
        self.redis_event(&Event::ConnectFailed { endpoint: redis_server(), failure }, None);
    }

    /// Another server is the master now. It has these values, and every worker learns of it.
    pub(super) fn fail_over(&self, values: Values) {
        self.0.redis.restore(values);
        self.0.redis.doubt(self.now());
        self.reconnected();
        self.all_hear(FailoverEvent::NewMaster);
    }

    /// Every worker learns of this.
    pub(super) fn all_hear(&self, what: FailoverEvent) {
        self.redis_event(&event_of(what), None);
    }

    /// One worker learns of this: the first one that was made has number 0.
    pub(super) fn one_hears(&self, worker: usize, what: FailoverEvent) {
        self.redis_event(&event_of(what), Some(worker));
    }

    /// Handles an event as the client and the runtime do. Here all workers have the same client.
    fn redis_event(&self, event: &Event, worker: Option<usize>) {
        self.0.health.borrow_mut().note(event, self.now());
        let Some(what) = FailoverEvent::of(event) else { return };
        for (number, watcher) in self.0.watchers.borrow().iter().enumerate() {
            if worker.is_none_or(|worker| worker == number) {
                watcher(what);
            }
        }
    }

    /// From now on every worker has a connection of this number, which tells of changes; `None` ends that.
    pub(super) fn track(&self, stream: Option<u64>) {
        self.0.tracking.set(stream.map(|number| (StreamId::of_test(number), true)));
    }

    /// The connections have not answered for too long.
    pub(super) fn fall_silent(&self) {
        let tracking = self.0.tracking.get().map(|(stream, _)| (stream, false));
        self.0.tracking.set(tracking);
    }

    /// Redis tells every worker of a change.
    pub(super) fn tell(&self, changed: &Changed) {
        self.0.change_watchers.borrow().iter().for_each(|watcher| watcher(changed));
    }

    /// The value of this statistic.
    pub(super) fn counted(&self, what: Count) -> usize {
        self.0.counts.borrow().iter().filter(|other| **other == what).count()
    }

    pub(super) fn pass(&self, time: Duration) {
        self.0.now.set(self.now().after(time));
    }

    /// Sets the clock, forwards or back.
    pub(super) fn set_now(&self, now: Timestamp) {
        self.0.now.set(now);
    }

    pub(super) fn without_random(&self) {
        self.0.has_random.set(false);
    }

    /// Runs all futures, and the tasks that they spawn, to their end. The clock moves from timer to timer.
    pub(super) fn run<T: 'static>(&self, futures: Vec<Pin<Box<dyn Future<Output = T>>>>) -> Vec<T> {
        let results: Rc<RefCell<Vec<Option<T>>>> =
            Rc::new(RefCell::new(futures.iter().map(|_| None).collect()));
        for (number, future) in futures.into_iter().enumerate() {
            let results = Rc::clone(&results);
            self.spawn(async move {
                let result = future.await;
                results.borrow_mut()[number] = Some(result);
            });
        }
        self.drain();
        results.take().into_iter().map(|result| result.expect("a flow that never ends")).collect()
    }

    /// A server of Redis rejects the password.
    pub(super) fn refuse_password(&self) {
        self.0.auth_watchers.borrow().iter().for_each(|hook| hook());
        self.drain();
    }

    /// The credentials that Redis was told, the last one last.
    pub(super) fn redis_credentials(&self) -> Vec<(Servers, Credentials)> {
        self.0.credentials.borrow().clone()
    }

    /// Lets what is repeated happen once more.
    pub(super) fn repeat(&self) {
        self.0.repeated.borrow().iter().for_each(|action| action());
        self.drain();
    }

    /// Runs all tasks to their end.
    pub(super) fn drain(&self) {
        loop {
            self.0.tasks.run(usize::MAX);
            let Some(next) = self.0.timers.next() else { return };
            self.0.now.set(self.now().max(next));
            self.0.timers.fire(self.now());
        }
    }
}

impl Io for World {
    fn now(&self) -> Timestamp {
        self.0.now.get()
    }

    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        if !self.0.has_random.get() {
            return Err(NoRandom);
        }
        getrandom::fill(bytes).map_err(|_| NoRandom)
    }

    fn call(
        &self,
        request: Request<Vec<u8>>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Response<Vec<u8>>, CallFailed>> + 'static {
        let world = self.clone();
        async move {
            let network = Rc::clone(&world.0.network.borrow());
            let (delay, answer) = (*network.borrow_mut())(&request);
            world.sleep(delay.min(timeout)).await;
            if delay > timeout { Err(CallFailed) } else { answer }
        }
    }

    fn redis(&self, command: Command) -> impl Future<Output = Result<Reply, Failure>> + 'static {
        let world = self.clone();
        async move {
            let way = world.0.redis.delay() / 2;
            world.sleep(way).await;
            let reply = world.0.redis.run(&command, world.now());
            // The reply arrives with what Redis told before it. The task goes on a moment later.
            if let (Some((stream, _)), changed) = (world.0.tracking.get(), world.0.redis.changed()) {
                let told = world.clone();
                world.spawn(async move {
                    told.sleep(way).await;
                    told.0.tracking.set(Some((stream, true)));
                    changed.into_iter().for_each(|key| told.tell(&Changed::Keys(vec![key])));
                });
            }
            world.sleep(way).await;
            command.comes_by(world.0.tracking.get().map(|(stream, _)| stream));
            if reply.is_err() {
                world.reconnected();
            }
            reply
        }
    }

    fn redis_health(&self) -> Health {
        self.0.health.borrow().health(self.now())
    }

    fn watch_redis(&self, hook: impl Fn(FailoverEvent) + 'static) {
        self.0.watchers.borrow_mut().push(Box::new(hook));
    }

    fn watch_redis_changes(&self, hook: impl Fn(&Changed) + 'static) {
        self.0.change_watchers.borrow_mut().push(Box::new(hook));
    }

    fn redis_tracks(&self, _: &[u8]) -> Option<StreamId> {
        self.0.tracking.get().map(|(stream, _)| stream)
    }

    fn redis_serves(&self, _: &[u8], stream: StreamId) -> bool {
        self.0.tracking.get() == Some((stream, true))
    }

    fn watch_redis_auth(&self, hook: impl Fn() + 'static) {
        self.0.auth_watchers.borrow_mut().push(Box::new(hook));
    }

    fn set_redis_credentials(&self, of: Servers, credentials: &Credentials) {
        self.0.credentials.borrow_mut().push((of, credentials.clone()));
    }

    fn count(&self, what: Count) {
        self.0.counts.borrow_mut().push(what);
    }

    fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + 'static {
        let world = self.clone();
        self.0.timers.sleep(delay, move || world.now())
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.tasks.spawn(Box::pin(task));
    }

    fn every(&self, _period: Duration, action: impl Fn() + 'static) {
        self.0.repeated.borrow_mut().push(Box::new(action));
    }

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

/// An event of the client that counts as this.
fn event_of(what: FailoverEvent) -> Event {
    let endpoint = redis_server();
    match what {
        FailoverEvent::Disconnected => Event::Disconnected { endpoint, failure: Failure::Lost, in_flight: 0 },
        FailoverEvent::NewMaster => Event::MasterChanged { endpoint },
    }
}

fn redis_server() -> Endpoint {
    Endpoint { host: "redis".to_owned(), port: 6379, tls: Tls::Off }
}
