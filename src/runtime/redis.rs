//! Drives the Redis [`Client`] of a root context: commands of flows in, streams of the host out.
//!
//! ```text
//! flow ── command ──► Client ── Open, Write, Close ──► Host ── gRPC stream ──► bridge ──► Redis
//!      ◄── outcome ──        ◄── bytes, end ──────────
//! ```
//!
//! A stream belongs to the context that opens it, and only a callback of the root context can open a stream that
//! lasts. So an `Open` that comes up while a request is handled waits for the next tick of the root context.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use log::{Level, info, log, warn};

use super::Host;
use super::rate::LogLimit;
use crate::bridge;
use crate::redis::{
    Changed, Client, ClientConfig, Command, CommandId, Credentials, Endpoint, Event, FailoverEvent, Failure,
    Health, Output, Reply, Served, ServerName, Servers, StreamId, Tls, Topology, Untracked,
};
use crate::time::Timestamp;

/// The server, for the bridge.
const SERVER_HEADER: &str = "x-oauth2-session-redis";

/// The name that the certificate of the server must have, for the bridge. An older bridge ignores it and checks the
/// host.
const SERVER_NAME_HEADER: &str = "x-oauth2-session-redis-tls-name";

/// What a command ends in.
pub(crate) type CommandOutcome = Result<Reply, Failure>;

/// What the statistics of Redis count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedisCount {
    /// A command is done, after this time.
    Command { has_reply: bool, time: Duration },
    /// A connection was made.
    Connected,
    /// A connection was not made.
    ConnectFailed,
    /// A connection ended, and the filter did not close it.
    Disconnected,
    /// A connection tells of changed keys.
    Tracked,
    /// A connection does not tell of changed keys.
    Untracked,
    /// A server told of changed keys.
    Changed,
}

/// The Redis of one root context, cheap to clone.
#[derive(Clone)]
pub(crate) struct RedisDriver(Rc<State>);

struct State {
    server_name: ServerName,
    is_cluster: bool,
    client: RefCell<Client>,
    waiting: RefCell<HashMap<CommandId, Caller>>,
    /// Streams that the root context has to open, and the open ones with the host's tokens.
    to_open: RefCell<Vec<(StreamId, Endpoint)>>,
    open: RefCell<Vec<(StreamId, u32)>>,
    failures: LogLimit,
    refusals: LogLimit,
    watcher: RefCell<Option<Watcher>>,
    auth_watcher: RefCell<Option<Box<dyn Fn()>>>,
    change_watcher: RefCell<Option<ChangeWatcher>>,
    /// Whether an operator has to know of a connection that does not tell of changed keys.
    wants_tracking: bool,
}

/// Is called with the keys that have changed.
type ChangeWatcher = Box<dyn Fn(&Changed)>;

/// Is called if something may lose a write.
type Watcher = Box<dyn Fn(FailoverEvent)>;

struct Caller {
    since: Timestamp,
    /// The name of the command in Redis.
    verb: String,
    answer: oneshot::Sender<CommandOutcome>,
}

impl RedisDriver {
    /// `seed` is for the delays of reconnects, and should be another one in every worker.
    pub(crate) fn new(config: &ClientConfig, seed: u64) -> Self {
        Self(Rc::new(State {
            server_name: config.server_name.clone(),
            is_cluster: matches!(config.topology, Topology::Cluster { .. }),
            client: RefCell::new(Client::new(config, seed)),
            waiting: RefCell::default(),
            to_open: RefCell::default(),
            open: RefCell::default(),
            failures: LogLimit::default(),
            refusals: LogLimit::default(),
            watcher: RefCell::default(),
            auth_watcher: RefCell::default(),
            change_watcher: RefCell::default(),
            wants_tracking: config.tracking.as_ref().is_some_and(|tracking| tracking.is_wanted),
        }))
    }

    /// Sends a command with the next [`flush`](Self::flush). Keep the first part while you wait for the outcome.
    pub(crate) fn send(
        &self,
        command: Command,
        now: Timestamp,
    ) -> (Pending, oneshot::Receiver<CommandOutcome>) {
        let (answer, receiver) = oneshot::channel();
        let verb = command.verb().to_owned();
        let id = self.0.client.borrow_mut().send(command, now);
        self.0.waiting.borrow_mut().insert(id, Caller { since: now, verb, answer });
        (Pending { redis: self.clone(), command: id }, receiver)
    }

    /// The caller no longer waits for a command, if it still did.
    fn forget(&self, command: CommandId) {
        if self.0.waiting.borrow_mut().remove(&command).is_some() {
            self.0.client.borrow_mut().cancel(command);
        }
    }

    /// Bytes arrived on the stream with this token.
    pub(crate) fn received(&self, token: u32, bytes: &[u8], now: Timestamp) {
        if let Some(stream) = self.stream(token) {
            self.0.client.borrow_mut().received(stream, bytes, now);
        }
    }

    /// The stream with this token ended, with this message.
    pub(crate) fn closed(&self, token: u32, message: &[u8], now: Timestamp) {
        let Some(stream) = self.stream(token) else { return };
        self.0.open.borrow_mut().retain(|(other, _)| *other != stream);
        match bridge::reason(message) {
            Some(reason) => self.0.client.borrow_mut().not_connected(stream, reason, now),
            None => self.0.client.borrow_mut().closed(stream, now),
        }
    }

    /// Time passed.
    pub(crate) fn wake(&self, now: Timestamp) {
        self.0.client.borrow_mut().wake(now);
    }

    /// When to be woken: at once if a stream has to be opened.
    pub(crate) fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        if self.0.to_open.borrow().is_empty() { self.0.client.borrow().next_wake() } else { Some(now) }
    }

    /// Opens the streams that the client asked for. Call this only in callbacks of the root context.
    pub(crate) fn open_streams(&self, host: &impl Host, now: Timestamp) {
        for (stream, endpoint) in self.0.to_open.take() {
            let method = match endpoint.tls {
                Tls::Off => "tcp",
                Tls::Verified => "tls",
                Tls::Insecure => "tls_insecure",
            };
            let server = endpoint.to_string();
            // With the port, as Envoy reads it: so an IPv6 address has its brackets.
            let name = Endpoint { host: self.0.server_name.of(&endpoint).to_owned(), ..endpoint }.to_string();
            let metadata = vec![(SERVER_HEADER, server.as_bytes()), (SERVER_NAME_HEADER, name.as_bytes())];
            match host.open_stream(method, metadata) {
                Ok(token) => {
                    self.0.open.borrow_mut().push((stream, token));
                    self.0.client.borrow_mut().opened(stream);
                }
                Err(why) => self.0.client.borrow_mut().not_connected(stream, why, now),
            }
        }
    }

    /// Carries out the outputs of the client, in any context.
    pub(crate) fn flush(&self, host: &impl Host, now: Timestamp) {
        loop {
            let output = self.0.client.borrow_mut().next_output();
            match output {
                None => return,
                Some(Output::Open { stream, endpoint }) => {
                    self.0.to_open.borrow_mut().push((stream, endpoint))
                }
                Some(Output::Write { stream, bytes }) => self.write(stream, &bytes, host, now),
                Some(Output::Close { stream }) => self.close(stream, host),
                Some(Output::Done { command, outcome }) => self.done(command, outcome, host, now),
                Some(Output::Changed(changed)) => {
                    host.count(RedisCount::Changed);
                    if let Some(watcher) = &*self.0.change_watcher.borrow() {
                        watcher(&changed);
                    }
                }
                Some(Output::Event(event)) => {
                    self.note(&event, host, now);
                    if let (Some(event), Some(watcher)) =
                        (FailoverEvent::of(&event), &*self.0.watcher.borrow())
                    {
                        watcher(event);
                    }
                }
            }
        }
    }

    fn write(&self, stream: StreamId, bytes: &[u8], host: &impl Host, now: Timestamp) {
        let is_sent = self.token(stream).is_some_and(|token| host.write_stream(token, bytes));
        if !is_sent {
            self.close(stream, host);
            self.0.client.borrow_mut().closed(stream, now);
        }
    }

    fn close(&self, stream: StreamId, host: &impl Host) {
        self.0.to_open.borrow_mut().retain(|(other, _)| *other != stream);
        let Some(token) = self.token(stream) else { return };
        self.0.open.borrow_mut().retain(|(other, _)| *other != stream);
        host.close_stream(token);
    }

    fn done(&self, command: CommandId, outcome: CommandOutcome, host: &impl Host, now: Timestamp) {
        let has_reply = !matches!(outcome, Err(_) | Ok(Reply::Error(_)));
        let caller = self.0.waiting.borrow_mut().remove(&command);
        let verb = caller.as_ref().map_or("", |caller| caller.verb.as_str());
        match &outcome {
            Ok(Reply::Error(error)) if error.code() == "MOVED" && !self.0.is_cluster => self.log(now, || {
                format!(
                    "it answered {verb} with MOVED: the server is a node of a Cluster, set redis_use_cluster"
                )
            }),
            Ok(Reply::Error(error)) if error.is_about_password() => {
                self.password_was_refused();
                self.log(now, || format!("it answered {verb} with {error}"));
            }
            Ok(Reply::Error(error)) => self.log(now, || format!("it answered {verb} with {error}")),
            Err(failure) => self.log(now, || format!("{verb}: {failure}")),
            Ok(_) => {}
        }
        if let Some(caller) = caller {
            host.count(RedisCount::Command { has_reply, time: now.since(caller.since) });
            // The task that sent the command may be gone; then the outcome is dropped.
            let _ = caller.answer.send(outcome);
        }
    }

    /// Logs a command that failed. In an outage all of them fail, so most lines are left out.
    fn log(&self, now: Timestamp, line: impl FnOnce() -> String) {
        if let Some(left_out) = self.0.failures.next(now) {
            warn!("Redis: {}{left_out}", line());
        }
    }

    /// From now on this is called if something may lose a write.
    pub(crate) fn watch(&self, watcher: Watcher) {
        self.0.watcher.replace(Some(watcher));
    }

    /// How well Redis is, by the clock of the other calls.
    pub(crate) fn health(&self, now: Timestamp) -> Health {
        self.0.client.borrow().health(now)
    }

    /// From now on this is called if a server rejects the password, which may have just changed.
    pub(crate) fn watch_auth(&self, watcher: Box<dyn Fn()>) {
        self.0.auth_watcher.replace(Some(watcher));
    }

    /// From now on this is called if keys have changed in Redis.
    pub(crate) fn watch_changes(&self, watcher: ChangeWatcher) {
        self.0.change_watcher.replace(Some(watcher));
    }

    /// The stream by which the server of a key tells of its changes.
    pub(crate) fn tracks(&self, key: &[u8]) -> Option<StreamId> {
        self.0.client.borrow().tracks(key)
    }

    /// Whether what was read of a key over this stream is valid, if no change was told.
    pub(crate) fn serves(&self, key: &[u8], stream: StreamId, now: Timestamp) -> Served {
        self.0.client.borrow_mut().serves(key, stream, now)
    }

    /// The password of these servers has changed.
    pub(crate) fn set_credentials(&self, of: Servers, credentials: &Credentials, now: Timestamp) {
        self.0.client.borrow_mut().set_credentials(of, credentials, now);
    }

    fn password_was_refused(&self) {
        if let Some(watcher) = &*self.0.auth_watcher.borrow() {
            watcher();
        }
    }

    /// Counts and logs what happened to a connection.
    fn note(&self, event: &Event, host: &impl Host, now: Timestamp) {
        if rejects_password(event) {
            self.password_was_refused();
        }
        match event {
            Event::AuthRefused { endpoint, error } => {
                warn!(
                    "Redis: {endpoint} refused the new password, and the connection goes on with the old one: {error}"
                );
            }
            Event::Connected { endpoint } => {
                host.count(RedisCount::Connected);
                info!("Redis: connected to {endpoint}");
            }
            Event::ConnectFailed { endpoint, failure } => {
                host.count(RedisCount::ConnectFailed);
                warn!("Redis: no connection to {endpoint}: {failure}");
            }
            Event::Disconnected { endpoint, failure, in_flight } => {
                host.count(RedisCount::Disconnected);
                warn!("Redis: disconnected from {endpoint} with {in_flight} commands in flight: {failure}");
            }
            Event::Tracking { endpoint, result: Ok(()) } => {
                host.count(RedisCount::Tracked);
                info!("Redis: {endpoint} tells of sessions that change, so requests are served from memory");
            }
            Event::Tracking { endpoint, result: Err(why) } => {
                host.count(RedisCount::Untracked);
                let why = match why {
                    Untracked::Refused(error) => format!("it answered with {error}"),
                    Untracked::NoPush => {
                        "it accepted CLIENT TRACKING, but did not tell of a change".to_owned()
                    }
                    Untracked::Resp2 => "HELLO without a version makes it speak RESP2 again".to_owned(),
                    Untracked::Replaced => {
                        "a proxy in between connected to it anew, or it is a replica now".to_owned()
                    }
                    Untracked::HangsUp => "it closed the connection on CLIENT and HELLO".to_owned(),
                };
                let line = format!(
                    "Redis: {endpoint} does not tell of sessions that change, so each request asks it: {why}"
                );
                log!(if self.0.wants_tracking { Level::Warn } else { Level::Info }, "{line}");
            }
            Event::IdleClosed { endpoint } => {
                info!("Redis: closed the idle connection to {endpoint}");
            }
            // A server may announce such a host each time that it is asked.
            Event::LookupFailed { failure: failure @ Failure::NotAllowed { .. }, .. } => {
                if let Some(left_out) = self.0.refusals.next(now) {
                    warn!("Redis: {failure}{left_out}");
                }
            }
            Event::LookupFailed { endpoint, failure } => {
                warn!("Redis: could not learn the master from {endpoint}: {failure}");
            }
            Event::MasterChanged { endpoint } => info!("Redis: {endpoint} is a master now"),
            Event::SlotsChanged { masters } => info!("Redis: the cluster has {masters} masters"),
        }
    }

    fn stream(&self, token: u32) -> Option<StreamId> {
        self.0.open.borrow().iter().find(|(_, other)| *other == token).map(|(stream, _)| *stream)
    }

    fn token(&self, stream: StreamId) -> Option<u32> {
        self.0.open.borrow().iter().find(|(other, _)| *other == stream).map(|(_, token)| *token)
    }
}

/// Whether a server rejects the password, or wants one.
fn rejects_password(event: &Event) -> bool {
    match event {
        Event::AuthRefused { .. } => true,
        Event::ConnectFailed { failure: Failure::HandshakeRefused { error, .. }, .. }
        | Event::LookupFailed { failure: Failure::HandshakeRefused { error, .. }, .. } => {
            error.is_about_password()
        }
        _ => false,
    }
}

/// A command whose outcome a flow waits for. It is dropped with the flow, such as when the browser goes away.
pub(crate) struct Pending {
    redis: RedisDriver,
    command: CommandId,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.redis.forget(self.command);
    }
}
