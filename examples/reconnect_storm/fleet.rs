//! The workers, the network and the clock: events in the order of their times.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::time::Duration;

use oauth2_session_filter::config::Config;
use oauth2_session_filter::redis::{Client, ClientConfig, Command, CommandId, Output, Reply, StreamId};
use oauth2_session_filter::time::Timestamp;
use serde_json::{Value, json};

use crate::report::{Times, millis};
use crate::server::{Server, State, switch_master};

/// How a server goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A single server is restarted: connections end, and are refused until it is back.
    Restart,
    /// The master that Sentinels watch crashes.
    SentinelCrash,
    /// The host of that master is gone, and no connection is told.
    SentinelSilence,
    /// All workers begin at once.
    ColdStart,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] =
        [Self::Restart, Self::SentinelCrash, Self::SentinelSilence, Self::ColdStart];

    const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::SentinelCrash => "sentinel, crash",
            Self::SentinelSilence => "sentinel, silence",
            Self::ColdStart => "cold start",
        }
    }

    const fn has_sentinels(self) -> bool {
        matches!(self, Self::SentinelCrash | Self::SentinelSilence)
    }
}

/// The network between any two, one way: at least this long, and up to twice as long.
const DELAY: Duration = Duration::from_micros(250);

/// The kernel sends a SYN again after this time, then after twice of it, and so on.
const SYN_AGAIN: Duration = Duration::from_secs(1);

/// The time before the server goes away, and the time after it is back.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(10);

/// When commands without an answer have failed at the latest, after the last request.
const DRAIN: Duration = Duration::from_secs(5);

const EPOCH: Timestamp = Timestamp::from_secs(1_700_000_000);
const MASTER: &str = "main";
const OLD: &str = "a";
const NEW: &str = "b";

enum Event {
    /// A browser asks a worker.
    Request(usize),
    /// The clock of a worker.
    Wake(usize),
    /// Something reaches a server.
    Arrives(Link, Packet),
    /// Something reaches a worker.
    Returns(Link, Answer),
    GoesAway,
    ComesBack,
}

/// A connection: a stream of a worker.
type Link = (usize, StreamId);

enum Packet {
    Syn { attempt: u32 },
    Bytes(Vec<u8>),
}

enum Answer {
    Accepted,
    Ended,
    Bytes(Vec<u8>),
}

struct Connection {
    server: &'static str,
    is_accepted: bool,
    /// What the worker wrote before the connection was accepted.
    waiting: Vec<u8>,
    is_subscribed: bool,
}

struct Worker {
    client: Client,
    /// The wake that is among the events.
    wakes_at: Option<Duration>,
    waiting: HashMap<CommandId, Duration>,
}

/// A command that has an outcome.
struct Done {
    worker: usize,
    sent: Duration,
    at: Duration,
    is_good: bool,
}

pub(crate) struct Fleet {
    scenario: Scenario,
    rate: u32,
    outage: Duration,
    backlog: usize,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    count: u64,
    random: u64,
    workers: Vec<Worker>,
    servers: BTreeMap<&'static str, Server>,
    links: BTreeMap<Link, Connection>,
    master: &'static str,
    // What happened.
    sent: usize,
    done: Vec<Done>,
    attempts: Vec<Duration>,
    accepted: Vec<Duration>,
    dropped: usize,
    longest_queue: Duration,
}

impl Fleet {
    pub(crate) fn new(
        scenario: Scenario,
        workers: u32,
        rate: u32,
        outage: Duration,
        backlog: usize,
        seed: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let config = client_config(scenario)?;
        let workers = (0..u64::from(workers)).map(|number| Worker {
            client: Client::new(&config, seed.wrapping_add(number.wrapping_mul(0x5851_F42D_4C95_7F2D))),
            wakes_at: None,
            waiting: HashMap::new(),
        });
        let servers = [(OLD, true), (NEW, false), ("s1", false), ("s2", false), ("s3", false)];
        let mut fleet = Self {
            scenario,
            rate,
            outage: if scenario == Scenario::ColdStart { Duration::ZERO } else { outage },
            backlog,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            count: 0,
            random: seed,
            workers: workers.collect(),
            servers: servers.map(|(name, is_master)| (name, Server::new(is_master, backlog))).into(),
            links: BTreeMap::new(),
            master: OLD,
            sent: 0,
            done: Vec::new(),
            attempts: Vec::new(),
            accepted: Vec::new(),
            dropped: 0,
            longest_queue: Duration::ZERO,
        };
        for worker in 0..fleet.workers.len() {
            let first = fleet.pause();
            let first = if scenario == Scenario::ColdStart { Duration::ZERO } else { first };
            fleet.at(first, Event::Request(worker));
        }
        if scenario != Scenario::ColdStart {
            fleet.at(BEFORE, Event::GoesAway);
            fleet.at(BEFORE.saturating_add(outage), Event::ComesBack);
        }
        Ok(fleet)
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) {
        while let Some(((time, _), event)) = self.events.pop_first() {
            self.now = time;
            match event {
                Event::Request(worker) => self.request(worker),
                Event::Wake(worker) => self.wake(worker),
                Event::Arrives(link, packet) => self.arrives(link, packet),
                Event::Returns(link, answer) => self.returns(link, answer),
                Event::GoesAway => self.goes_away(),
                Event::ComesBack => self.comes_back(),
            }
        }
    }

    // Workers.

    fn request(&mut self, number: usize) {
        if let Some(worker) = self.workers.get_mut(number) {
            let id = worker.client.send(Command::get(b"_oauth2_proxy-0123456789abcdef"), time(self.now));
            worker.waiting.insert(id, self.now);
            self.sent += 1;
        }
        let next = self.now.saturating_add(self.pause());
        if next < self.returned_at().saturating_add(AFTER) {
            self.at(next, Event::Request(number));
        }
        self.carry_out(number);
    }

    fn wake(&mut self, number: usize) {
        let now = self.now;
        if let Some(worker) = self.workers.get_mut(number).filter(|worker| worker.wakes_at == Some(now)) {
            worker.wakes_at = None;
            worker.client.wake(time(now));
            self.carry_out(number);
        }
    }

    fn carry_out(&mut self, number: usize) {
        while let Some(output) = self.workers.get_mut(number).and_then(|worker| worker.client.next_output()) {
            match output {
                Output::Open { stream, endpoint } => {
                    let server = self.servers.keys().find(|name| **name == endpoint.host).copied();
                    let server = server.unwrap_or(OLD);
                    let link = (number, stream);
                    let new =
                        Connection { server, is_accepted: false, waiting: Vec::new(), is_subscribed: false };
                    self.links.insert(link, new);
                    self.later(Event::Arrives(link, Packet::Syn { attempt: 0 }));
                    // The bridge takes the bytes from here on, and connects meanwhile.
                    if let Some(worker) = self.workers.get_mut(number) {
                        worker.client.opened(stream);
                    }
                }
                Output::Write { stream, bytes } => match self.links.get_mut(&(number, stream)) {
                    Some(link) if link.is_accepted => {
                        self.later(Event::Arrives((number, stream), Packet::Bytes(bytes)))
                    }
                    Some(link) => link.waiting.extend(bytes),
                    None => {}
                },
                Output::Close { stream } => {
                    self.links.remove(&(number, stream));
                }
                Output::Done { command, outcome } => {
                    let worker = self.workers.get_mut(number);
                    if let Some(sent) = worker.and_then(|worker| worker.waiting.remove(&command)) {
                        let is_good = matches!(outcome, Ok(ref reply) if !matches!(reply, Reply::Error(_)));
                        self.done.push(Done { worker: number, sent, at: self.now, is_good });
                    }
                }
                Output::Changed(_) | Output::Event(_) => {}
            }
        }
        self.set_alarm(number);
    }

    fn set_alarm(&mut self, number: usize) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(number) else { return };
        let wakes_at = worker.client.next_wake().map(|wake| wake.since(EPOCH).max(now));
        if wakes_at.is_some() && wakes_at != worker.wakes_at {
            worker.wakes_at = wakes_at;
            self.at(wakes_at.unwrap_or(now), Event::Wake(number));
        }
    }

    // The network and the servers.

    fn arrives(&mut self, link: Link, packet: Packet) {
        let now = self.now;
        let Some(server) = self.links.get(&link).map(|connection| connection.server) else { return };
        let Some(state) = self.servers.get(server).map(|server| server.state) else { return };
        let is_data = [OLD, NEW].contains(&server);
        if let (Packet::Syn { .. }, true) = (&packet, is_data) {
            self.attempts.push(now);
        }
        match (packet, state) {
            (_, State::Silent) => {}
            (_, State::Refusing) => self.later(Event::Returns(link, Answer::Ended)),
            (Packet::Syn { attempt }, State::Up) => {
                if self.servers.get_mut(server).is_some_and(|server| server.connect(now)) {
                    if is_data {
                        self.accepted.push(now);
                    }
                    self.later(Event::Returns(link, Answer::Accepted));
                } else {
                    self.dropped += 1;
                    let again = SYN_AGAIN.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
                    self.at(
                        now.saturating_add(again),
                        Event::Arrives(link, Packet::Syn { attempt: attempt.saturating_add(1) }),
                    );
                }
            }
            (Packet::Bytes(bytes), State::Up) => {
                let master = self.master;
                let Some(server) = self.servers.get_mut(server) else { return };
                let (replies, until) = server.run(&bytes, master, now);
                let queue = server.queue(now);
                if is_data && now >= self.returned_at() {
                    self.longest_queue = self.longest_queue.max(queue);
                }
                if let Some(connection) = self.links.get_mut(&link) {
                    connection.is_subscribed |= bytes.windows(9).any(|word| word == b"SUBSCRIBE");
                }
                self.at(until.saturating_add(delay_of(link.0)), Event::Returns(link, Answer::Bytes(replies)));
            }
        }
    }

    fn returns(&mut self, link: Link, answer: Answer) {
        let (now, (number, stream)) = (time(self.now), link);
        let Some(connection) = self.links.get_mut(&link) else { return };
        let Some(worker) = self.workers.get_mut(number) else { return };
        match answer {
            Answer::Accepted => {
                connection.is_accepted = true;
                let waiting = std::mem::take(&mut connection.waiting);
                self.later(Event::Arrives(link, Packet::Bytes(waiting)));
            }
            Answer::Ended => {
                let was_accepted = connection.is_accepted;
                self.links.remove(&link);
                if was_accepted {
                    worker.client.closed(stream, now);
                } else {
                    worker.client.not_connected(stream, "connection refused".to_owned(), now);
                }
                self.carry_out(number);
            }
            Answer::Bytes(bytes) => {
                worker.client.received(stream, &bytes, now);
                self.carry_out(number);
            }
        }
    }

    fn goes_away(&mut self) {
        let state = if self.scenario == Scenario::SentinelSilence { State::Silent } else { State::Refusing };
        if let Some(server) = self.servers.get_mut(OLD) {
            server.state = state;
        }
        if state == State::Refusing {
            for link in self.links_where(|connection| connection.server == OLD && connection.is_accepted) {
                self.later(Event::Returns(link, Answer::Ended));
            }
        }
    }

    fn comes_back(&mut self) {
        if !self.scenario.has_sentinels() {
            let backlog = self.backlog;
            if let Some(server) = self.servers.get_mut(OLD) {
                *server = Server::new(true, backlog);
            }
            return;
        }
        self.master = NEW;
        if let Some(server) = self.servers.get_mut(NEW) {
            server.is_master = true;
        }
        for link in self.links_where(|connection| connection.is_subscribed) {
            self.later(Event::Returns(link, Answer::Bytes(switch_master(MASTER, OLD, NEW))));
        }
    }

    fn links_where(&self, is_meant: impl Fn(&Connection) -> bool) -> Vec<Link> {
        self.links.iter().filter(|(_, connection)| is_meant(connection)).map(|(link, _)| *link).collect()
    }

    /// When the data can be reached again.
    fn returned_at(&self) -> Duration {
        if self.scenario == Scenario::ColdStart { Duration::ZERO } else { BEFORE.saturating_add(self.outage) }
    }

    // The clock.

    fn at(&mut self, time: Duration, event: Event) {
        if time <= self.returned_at().saturating_add(AFTER).saturating_add(DRAIN) {
            self.count += 1;
            self.events.insert((time, self.count), event);
        }
    }

    /// After a way through the network. Nothing overtakes within a connection: the ways of a worker take equally long.
    fn later(&mut self, event: Event) {
        let link = match &event {
            Event::Arrives(link, _) | Event::Returns(link, _) => link.0,
            _ => 0,
        };
        let time = self.now.saturating_add(delay_of(link));
        self.at(time, event);
    }

    /// The time to the next request of a worker: exponential, with the rate as its mean.
    fn pause(&mut self) -> Duration {
        self.random = mixed(self.random);
        let part = f64::from(u32::try_from(self.random >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        let seconds = -(1.0 - part).max(1e-9).ln() / f64::from(self.rate.max(1));
        Duration::from_secs_f64(seconds)
    }

    // The results.

    pub(crate) fn report(&self) -> Value {
        let back = self.returned_at();
        let accepted: Times = self.accepted.iter().filter(|time| **time >= back).copied().collect();
        let refused = self.attempts.iter().filter(|time| (BEFORE..back).contains(*time)).count();
        let mut first: BTreeMap<usize, Duration> = BTreeMap::new();
        for done in self.done.iter().filter(|done| done.is_good && done.at >= back) {
            first.entry(done.worker).or_insert_with(|| done.at.saturating_sub(back));
        }
        let first: Times = first.into_values().collect();
        let is_after = |done: &&Done| done.sent >= back;
        let worst = (0..AFTER.as_secs()).filter_map(|second| {
            let start = back.saturating_add(Duration::from_secs(second));
            let window = start..start.saturating_add(Duration::from_secs(1));
            let times = self.done.iter().filter(|done| done.is_good && window.contains(&done.sent));
            times.map(|done| done.at.saturating_sub(done.sent)).collect::<Times>().percentile(990)
        });
        json!({
            "scenario": self.scenario.name(),
            "workers": self.workers.len(),
            "requests_per_second": self.workers.len().saturating_mul(usize::try_from(self.rate).unwrap_or(0)),
            "outage_s": self.outage.as_secs(),
            "backlog": self.backlog,
            "attempts_in_the_outage": refused,
            "connects": accepted.len(),
            "most_connects_in_10_ms": accepted.most_within(Duration::from_millis(10)),
            "most_connects_in_100_ms": accepted.most_within(Duration::from_millis(100)),
            "most_connects_in_1_s": accepted.most_within(Duration::from_secs(1)),
            "dropped_by_the_backlog": self.dropped,
            "workers_with_an_answer": first.len(),
            "first_good_answer_ms": millis(first.percentile(0)),
            "median_good_answer_ms": millis(first.percentile(500)),
            "last_good_answer_ms": millis(first.percentile(1000)),
            "worst_p99_ms": millis(worst.max()),
            "longest_queue_ms": millis(Some(self.longest_queue)),
            "commands": self.sent,
            "commands_without_outcome": self.workers.iter().map(|worker| worker.waiting.len()).sum::<usize>(),
            "failed_in_the_outage": self.done.iter().filter(|done| !done.is_good && done.sent < back).count(),
            "failed_afterwards": self.done.iter().filter(is_after).filter(|done| !done.is_good).count(),
        })
    }
}

/// The client's configuration, from options of the filter and their defaults.
fn client_config(scenario: Scenario) -> Result<ClientConfig, Box<dyn Error>> {
    let mut options = json!({
        "oidc_issuer_url": "https://login.example.com",
        "client_id": "filter",
        "client_secret": "not used",
        "cookie_secret": "0123456789abcdef0123456789abcdef",
        "email_domains": ["*"],
        "session_store_type": "redis",
    });
    let servers = if scenario.has_sentinels() {
        json!({
            "redis_use_sentinel": true,
            "redis_sentinel_master_name": MASTER,
            "redis_sentinel_connection_urls": ["redis://s1:6379", "redis://s2:6379", "redis://s3:6379"],
        })
    } else {
        json!({ "redis_connection_url": format!("redis://{OLD}:6379") })
    };
    if let (Some(options), Value::Object(servers)) = (options.as_object_mut(), servers) {
        options.extend(servers);
    }
    let config = Config::parse(options.to_string().as_bytes(), &[]).map_err(|errors| errors.to_string())?;
    Ok(config.redis.ok_or("no Redis in the configuration")?.client)
}

fn time(since_start: Duration) -> Timestamp {
    EPOCH.after(since_start)
}

/// The way between a worker and any server, one way.
fn delay_of(worker: usize) -> Duration {
    let random = mixed(u64::try_from(worker).unwrap_or(0));
    let more = u32::try_from(random >> 32).unwrap_or(0) % 250;
    DELAY.saturating_add(Duration::from_micros(more.into()))
}

/// A random number from the one before (splitmix64).
const fn mixed(state: u64) -> u64 {
    let next = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
