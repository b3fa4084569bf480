//! Redis in Envoy: the streams of a [`Client`], opened through the bridge by the root context.
//!
//! ```text
//! flow ── command ──► Client ── Open, Write, Close ──► gRPC stream ──► bridge ──► Redis
//!      ◄── outcome ──        ◄── bytes, end ───────
//! ```
//!
//! A stream belongs to the context that opens it, and only a callback of the root context can open a stream that
//! lasts. So an `Open` that comes up while a request is handled waits for the next tick of the root context.

use std::cell::RefCell;
use std::collections::HashMap;

use futures_channel::oneshot;
use log::{info, warn};
use proxy_wasm::hostcalls;

use super::abi;
use super::metrics::Metrics;
use crate::bridge;
use crate::bridge::SERVICE;
use crate::redis::{
    Client, ClientConfig, Command, CommandId, Endpoint, Event, FailoverEvent, Failure, Health, Output, Reply,
    ServerName, StreamId, Tls, Topology,
};
use crate::runtime::rate::LogLimit;
use crate::time::Timestamp;

/// The server, for the bridge.
const SERVER_HEADER: &str = "x-oauth2-session-redis";

/// The name that the certificate of the server must have, for the bridge. An older bridge ignores it and checks the
/// host.
const SERVER_NAME_HEADER: &str = "x-oauth2-session-redis-tls-name";

pub(super) type Outcome = Result<Reply, Failure>;

/// The Redis of one worker.
pub(super) struct Redis {
    root_id: u32,
    bridge_cluster: String,
    server_name: ServerName,
    is_cluster: bool,
    client: RefCell<Client>,
    waiting: RefCell<HashMap<CommandId, Caller>>,
    /// Streams that the root context has to open, and the open ones with Envoy's numbers.
    to_open: RefCell<Vec<(StreamId, Endpoint)>>,
    open: RefCell<Vec<(StreamId, u32)>>,
    metrics: Metrics,
    failures: LogLimit,
    refusals: LogLimit,
    watcher: RefCell<Option<Watcher>>,
}

/// Is called if something may lose a write.
type Watcher = Box<dyn Fn(FailoverEvent)>;

struct Caller {
    since: Timestamp,
    /// The name of the command in Redis.
    verb: String,
    answer: oneshot::Sender<Outcome>,
}

impl Redis {
    pub(super) fn new(
        root_id: u32,
        bridge_cluster: &str,
        config: &ClientConfig,
        seed: u64,
        metrics: Metrics,
    ) -> Self {
        Self {
            root_id,
            bridge_cluster: bridge_cluster.to_owned(),
            server_name: config.server_name.clone(),
            is_cluster: matches!(config.topology, Topology::Cluster { .. }),
            client: RefCell::new(Client::new(config, seed)),
            waiting: RefCell::default(),
            to_open: RefCell::default(),
            open: RefCell::default(),
            metrics,
            failures: LogLimit::default(),
            refusals: LogLimit::default(),
            watcher: RefCell::default(),
        }
    }

    /// Sends a command with the next [`flush`](Self::flush).
    pub(super) fn send(&self, command: Command, now: Timestamp) -> (CommandId, oneshot::Receiver<Outcome>) {
        let (answer, receiver) = oneshot::channel();
        let verb = command.verb().to_owned();
        let id = self.client.borrow_mut().send(command, now);
        self.waiting.borrow_mut().insert(id, Caller { since: now, verb, answer });
        (id, receiver)
    }

    /// The caller no longer waits for a command, if it still did.
    pub(super) fn forget(&self, command: CommandId) {
        if self.waiting.borrow_mut().remove(&command).is_some() {
            self.client.borrow_mut().cancel(command);
        }
    }

    /// Bytes arrived on the stream with this number.
    pub(super) fn received(&self, token: u32, bytes: &[u8], now: Timestamp) {
        if let Some(stream) = self.stream(token) {
            self.client.borrow_mut().received(stream, bytes, now);
        }
    }

    /// The stream with this number ended, with this message.
    pub(super) fn closed(&self, token: u32, message: &[u8], now: Timestamp) {
        let Some(stream) = self.stream(token) else { return };
        self.open.borrow_mut().retain(|(other, _)| *other != stream);
        match bridge::reason(message) {
            Some(reason) => self.client.borrow_mut().not_connected(stream, reason, now),
            None => self.client.borrow_mut().closed(stream, now),
        }
    }

    /// Time passed.
    pub(super) fn wake(&self, now: Timestamp) {
        self.client.borrow_mut().wake(now);
    }

    /// When to be woken: at once if a stream has to be opened.
    pub(super) fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        if self.to_open.borrow().is_empty() { self.client.borrow().next_wake() } else { Some(now) }
    }

    /// Opens the streams that the client asked for. Call this only in callbacks of the root context.
    pub(super) fn open_streams(&self, now: Timestamp) {
        for (stream, endpoint) in self.to_open.take() {
            let method = match endpoint.tls {
                Tls::Off => "tcp",
                Tls::Verified => "tls",
                Tls::Insecure => "tls_insecure",
            };
            let server = endpoint.to_string();
            // With the port, as Envoy reads it: so an IPv6 address has its brackets.
            let name = Endpoint { host: self.server_name.of(&endpoint).to_owned(), ..endpoint }.to_string();
            let metadata = vec![(SERVER_HEADER, server.as_bytes()), (SERVER_NAME_HEADER, name.as_bytes())];
            match hostcalls::open_grpc_stream(&self.bridge_cluster, SERVICE, method, metadata) {
                Ok(token) => {
                    self.open.borrow_mut().push((stream, token));
                    self.client.borrow_mut().opened(stream);
                }
                Err(status) => {
                    let why = abi::not_begun(status, &self.bridge_cluster);
                    self.client.borrow_mut().not_connected(stream, why, now);
                }
            }
        }
    }

    /// Carries out the outputs of the client, in any context.
    pub(super) fn flush(&self, now: Timestamp) {
        loop {
            let output = self.client.borrow_mut().next_output();
            match output {
                None => return,
                Some(Output::Open { stream, endpoint }) => self.to_open.borrow_mut().push((stream, endpoint)),
                Some(Output::Write { stream, bytes }) => self.write(stream, &bytes, now),
                Some(Output::Close { stream }) => self.close(stream),
                Some(Output::Done { command, outcome }) => self.done(command, outcome, now),
                Some(Output::Event(event)) => {
                    self.log_event(&event, now);
                    if let (Some(event), Some(watcher)) = (FailoverEvent::of(&event), &*self.watcher.borrow())
                    {
                        watcher(event);
                    }
                }
            }
        }
    }

    fn write(&self, stream: StreamId, bytes: &[u8], now: Timestamp) {
        let token = self.token(stream);
        // The stream belongs to the root context, whichever context this callback is for.
        let is_ours = hostcalls::set_effective_context(self.root_id).is_ok();
        let sent = token.is_some_and(|token| {
            is_ours && hostcalls::send_grpc_stream_message(token, Some(bytes), false).is_ok()
        });
        if !sent {
            self.close(stream);
            self.client.borrow_mut().closed(stream, now);
        }
    }

    fn close(&self, stream: StreamId) {
        self.to_open.borrow_mut().retain(|(other, _)| *other != stream);
        let Some(token) = self.token(stream) else { return };
        self.open.borrow_mut().retain(|(other, _)| *other != stream);
        if hostcalls::set_effective_context(self.root_id).is_ok() {
            let _ = hostcalls::cancel_grpc_stream(token);
        }
    }

    fn done(&self, command: CommandId, outcome: Outcome, now: Timestamp) {
        let has_reply = !matches!(outcome, Err(_) | Ok(Reply::Error(_)));
        let caller = self.waiting.borrow_mut().remove(&command);
        let verb = caller.as_ref().map_or("", |caller| caller.verb.as_str());
        match &outcome {
            Ok(Reply::Error(error)) if error.code() == "MOVED" && !self.is_cluster => self.log(now, || {
                format!(
                    "it answered {verb} with MOVED: the server is a node of a Cluster, set redis_use_cluster"
                )
            }),
            Ok(Reply::Error(error)) => self.log(now, || format!("it answered {verb} with {error}")),
            Err(failure) => self.log(now, || format!("{verb}: {failure}")),
            Ok(_) => {}
        }
        if let Some(caller) = caller {
            self.metrics.command(has_reply, now.since(caller.since));
            // The task that sent the command may be gone; then the outcome is dropped.
            let _ = caller.answer.send(outcome);
        }
    }

    /// Logs a command that failed. In an outage all of them fail, so most lines are left out.
    fn log(&self, now: Timestamp, line: impl FnOnce() -> String) {
        if let Some(left_out) = self.failures.next(now) {
            warn!("Redis: {}{left_out}", line());
        }
    }

    /// From now on this is called if something may lose a write.
    pub(super) fn watch(&self, watcher: Watcher) {
        self.watcher.replace(Some(watcher));
    }

    /// How well Redis is, by the clock of the other calls.
    pub(super) fn health(&self, now: Timestamp) -> Health {
        self.client.borrow().health(now)
    }

    fn log_event(&self, event: &Event, now: Timestamp) {
        match event {
            Event::Connected { endpoint } => {
                self.metrics.connected();
                info!("Redis: connected to {endpoint}");
            }
            Event::ConnectFailed { endpoint, failure } => {
                self.metrics.connect_failed();
                warn!("Redis: no connection to {endpoint}: {failure}");
            }
            Event::Disconnected { endpoint, failure, in_flight } => {
                self.metrics.disconnected();
                warn!("Redis: disconnected from {endpoint} with {in_flight} commands in flight: {failure}");
            }
            Event::IdleClosed { endpoint } => {
                info!("Redis: closed the idle connection to {endpoint}");
            }
            // A server may announce such a host each time that it is asked.
            Event::LookupFailed { failure: failure @ Failure::NotAllowed { .. }, .. } => {
                if let Some(left_out) = self.refusals.next(now) {
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
        self.open.borrow().iter().find(|(_, other)| *other == token).map(|(stream, _)| *stream)
    }

    fn token(&self, stream: StreamId) -> Option<u32> {
        self.open.borrow().iter().find(|(other, _)| *other == stream).map(|(_, token)| *token)
    }
}
