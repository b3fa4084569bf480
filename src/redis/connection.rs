//! The connection to one server: a stream that is opened if a command needs it, and opened again after it broke.
//!
//! ```text
//!                    a command waits, the backoff is over, and there is an endpoint
//!        ┌──────────────────────── open ────────────────────────────┐
//!        │                                                          ▼
//!     Closed ◄──── closed, connect_timeout ───────────────────── Opening
//!      ▲  ▲                                                         │ opened: write the handshake
//!      │  │                                                         ▼
//!      │  └─────── closed, connect_timeout, refused, not ready ── Greeting
//!      │                                                            │ all its replies came
//!      │           closed, protocol error,                          ▼
//!      ├────────── command_timeout in flight, idle_timeout ────── Ready ──► Write ... replies
//!      │                                                            │ drain
//!      └────────── as Ready, or nothing is in flight ──────────── Draining ◄── replies
//! ```
//!
//! - A command fails at its deadline, in flight or not. A reply that arrives later is dropped. A command whose reply
//!   is arriving has more time, as long as the stream lives: a slow connection is not a silent one.
//! - The stream is presumed hung, and ends, if a command is in flight and no byte arrives for the whole
//!   `command_timeout`. It also ends if no whole reply arrives for several of these timeouts: after lost bytes, the
//!   end of a reply may never come. The time counts from the write. So a command that was written late, after a
//!   reconnect, does not end the new stream for the others.
//! - A reply that cannot belong to the first command in flight ends the stream: bytes were lost on the way, and each
//!   later reply would be taken for that to another command. The reply is dropped, and the commands in flight are
//!   written again.
//! - If a stream breaks, the commands in flight are written to the next one, unless they must not run twice or were
//!   written too often. Then they are lost.
//! - A server that hangs up on the handshake is greeted once more, without our name: twemproxy knows no `CLIENT`.
//! - A stream that ends with nothing in flight is not an outage. Servers close idle clients.
//! - A server that comes back after an outage may have lost its data, and a replica that has them may be about to
//!   replace it. A server that took over may lack the last writes. So if there are replicas, a missing key is not
//!   believed for a while (`health`): a master that was restarted without its data signs no user out, and the proxy
//!   that wrote last has time to write again.
//! - Errors of single commands are replies like others. The errors that a topology deals with are handed back to it,
//!   with their commands.

use std::rc::Rc;
use std::time::Duration;

use super::command::Command;
use super::config::Credentials;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::health::CATCH_UP;
use super::load::Load;
use super::output::{CommandId, Event, Outputs, StreamId};
use super::pending::PendingCommand;
use super::pipeline::Pipeline;
use super::reconnect::Reconnect;
use super::reply::Reply;
use super::settings::Settings;
use super::stream::{Stream, StreamEvent};
use super::tracking::{self, Changed, Served, Tracking, Untracked};
use crate::time::Timestamp;

/// One reply may take this many times `command_timeout`, from its first byte to its last.
const REPLY_TIMEOUTS: u32 = 5;

/// How long a stream stays whose server may have hung up on the handshake before it because of something else.
const NAMELESS: Duration = Duration::from_secs(60);

/// The connection to one server.
pub(super) struct Connection {
    settings: Rc<Settings>,
    /// `None` until the topology knows it.
    endpoint: Option<Endpoint>,
    pipeline: Pipeline,
    reconnect: Reconnect,
    /// `None` is Closed.
    open: Option<Open>,
    report: ConnectionReport,
    /// The server of the last stream that was ready.
    last_server: Option<Endpoint>,
    /// Until when the server may lack data, after it came back or took over.
    possibly_stale_until: Option<Timestamp>,
    /// Makes the keys of probes different from those of other clients.
    seed: u64,
    /// Makes the server own the keys of probes; `None` if the topology does not know how.
    probe_tag: Option<u32>,
    /// The time of the last call. Commands are written with the next flush, at the same time.
    now: Timestamp,
}

struct Open {
    stream: Stream,
    last_byte: Timestamp,
    last_reply: Timestamp,
    /// Why the stream ends with the last reply, if it is draining.
    draining: Option<Failure>,
    /// `None` if the server is not asked to tell of changed keys, or refuses that.
    tracking: Option<Tracking>,
}

/// What happened to a connection that its topology does not see in the outputs.
#[derive(Default)]
pub(super) struct ConnectionReport {
    /// The commands that the server did not run, by errors that are handed back.
    pub(super) refused: Vec<PendingCommand>,
    /// Whether the server ran a command with a key.
    pub(super) has_answered: bool,
    /// Whether a stream ended for another reason than being idle.
    pub(super) has_failed: bool,
    /// Whether a question of the tracking was about a key that another server has.
    pub(super) has_moved: bool,
}

impl Connection {
    /// A connection that stays closed until there is a command.
    pub(super) fn new(endpoint: Option<Endpoint>, settings: &Rc<Settings>, seed: u64) -> Self {
        Self {
            settings: Rc::clone(settings),
            endpoint,
            pipeline: Pipeline::new(settings.command_timeout),
            reconnect: Reconnect::new(seed, settings.command_timeout),
            open: None,
            report: ConnectionReport::default(),
            last_server: None,
            possibly_stale_until: None,
            seed,
            probe_tag: Some(0),
            now: Timestamp::from_secs(0),
        }
    }

    // What happens.

    /// Takes a command. Its outcome becomes an output, now or later.
    pub(super) fn send(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outputs) {
        // Timeouts first: a stream that was idle for too long is not written to.
        self.wake(now, out);
        match self.admit(now) {
            Ok(()) => self.push(pending, now, out),
            Err(failure) => pending.done(Err(failure), out),
        }
    }

    /// Takes a command that was admitted already.
    pub(super) fn push(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outputs) {
        self.now = now;
        self.pipeline.push(pending);
        self.connect(now, out);
        if self.tracking().is_some_and(|tracking| tracking.is_due(now)) {
            self.ask(now, out, Tracking::question);
        }
    }

    /// The caller no longer waits for a command: its outcome does not become an output.
    pub(super) fn cancel(&mut self, id: CommandId) {
        self.pipeline.cancel(id);
    }

    /// The host opened a stream.
    pub(super) fn opened(&mut self, id: StreamId, out: &mut Outputs) {
        if let Some(open) = &mut self.open {
            open.stream.opened(id, out);
        }
    }

    /// Bytes arrived.
    pub(super) fn received(&mut self, id: StreamId, mut bytes: &[u8], now: Timestamp, out: &mut Outputs) {
        self.now = now;
        if let Some(open) = self.open.as_mut().filter(|open| open.stream.id() == id && !bytes.is_empty()) {
            open.last_byte = now;
        }
        // Looked up again for each reply, because the one before may have ended the stream.
        while let Some(open) = self.open.as_mut().filter(|open| open.stream.id() == id) {
            let read = match open.stream.next(&mut bytes) {
                Ok(Some(event)) => self.on_stream_event(event, now, out),
                Ok(None) => break,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = read {
                out.close(id);
                self.on_ended(failure, now, out);
            }
        }
        self.expire(now, out);
        self.end_drained(now, out);
    }

    /// The host closed a stream, or could not open it.
    pub(super) fn closed(&mut self, id: StreamId, why: Failure, now: Timestamp, out: &mut Outputs) {
        if self.owns(id) && !self.retry_without_name(&why, now, out) {
            self.on_ended(why, now, out);
        }
    }

    /// Time passed.
    pub(super) fn wake(&mut self, now: Timestamp, out: &mut Outputs) {
        self.now = now;
        if let Some(Open { stream, .. }) = &self.open {
            let is_over = self.stream_deadline().is_some_and(|deadline| deadline <= now);
            if is_over && stream.is_ready() {
                self.close_idle(out);
            } else if is_over || self.hung_at().is_some_and(|hung_at| hung_at <= now) {
                out.close(stream.id());
                self.on_ended(Failure::Timeout, now, out);
            }
        }
        self.keep_fresh(now, out);
        self.expire(now, out);
        self.connect(now, out);
    }

    /// When to [`wake`](Self::wake) next.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let question = self.question_at();
        let stream = match (&self.open, &self.endpoint) {
            (Some(_), _) => self.stream_deadline(),
            (None, Some(_)) if !self.pipeline.is_empty() => self.reconnect.retry_at(),
            (None, _) => None,
        };
        [stream, question, self.hung_at(), self.pipeline.next_deadline()].into_iter().flatten().min()
    }

    /// Writes the commands that wait, if the stream is ready.
    pub(super) fn flush(&mut self, out: &mut Outputs) {
        if let Some(open) =
            self.open.as_ref().filter(|open| open.stream.is_ready() && open.draining.is_none())
        {
            let bytes = self.pipeline.next_write(self.now);
            if !bytes.is_empty() {
                out.write(open.stream.id(), bytes);
            }
        }
    }

    // What a topology decides.

    /// From now on this is the server. It `is_announced` if other clients hear of it in the same moment.
    pub(super) fn switch_to(
        &mut self,
        endpoint: Endpoint,
        is_announced: bool,
        now: Timestamp,
        out: &mut Outputs,
    ) {
        if self.endpoint.as_ref() == Some(&endpoint) {
            return;
        }
        self.hang_up(Failure::NotMaster, now, out);
        self.endpoint = Some(endpoint);
        if is_announced {
            self.reconnect.retry_soon(now);
        } else {
            self.reconnect.retry_now(now);
        }
        self.connect(now, out);
    }

    /// The server is no longer known. Call this only without a stream.
    pub(super) fn forget_endpoint(&mut self) {
        self.endpoint = None;
    }

    /// The topology may find a server now.
    pub(super) fn retry_lookup_now(&mut self, now: Timestamp) {
        self.reconnect.retry_now(now);
    }

    /// The topology could not find a server, from `since` until now.
    pub(super) fn on_unresolved(
        &mut self,
        failure: Failure,
        since: Timestamp,
        now: Timestamp,
        out: &mut Outputs,
    ) {
        self.reconnect.failed(failure, since, now);
        self.pipeline.give_up(|sent_at| self.reconnect.verdict(sent_at), out);
    }

    /// The credentials have changed: a stream that is ready authenticates anew, before the commands that follow. If the
    /// server refuses that, the stream goes on with the rights that it has. An outage may be over now.
    pub(super) fn authenticate(&mut self, credentials: &Credentials, now: Timestamp, out: &mut Outputs) {
        self.now = now;
        match self.open.as_ref().filter(|open| open.stream.is_ready() && open.draining.is_none()) {
            Some(open) => {
                let bytes = self.pipeline.write_for_ourselves(Command::auth(credentials), now);
                out.write(open.stream.id(), bytes);
            }
            None => {
                self.reconnect.retry_now(now);
                self.connect(now, out);
            }
        }
    }

    /// From now on, and for a while, the server may lack data.
    pub(super) fn mark_possibly_stale(&mut self, now: Timestamp) {
        self.possibly_stale_until = Some(now.after(CATCH_UP)).filter(|_| self.settings.has_replicas);
    }

    /// Lets commands wait for the next stream if the server said that it was not ready for them.
    pub(super) fn requeue(&mut self, refused: Vec<PendingCommand>, now: Timestamp, out: &mut Outputs) {
        let refusal = refused.first().and_then(|pending| pending.refusal.clone());
        for pending in refused {
            self.push(pending, now, out);
        }
        if let Some(error) = refusal {
            self.drain(Failure::NotReady(error), now, out);
        }
    }

    /// The server says itself that it is the wrong one. Nothing more is written to it, and the stream ends with the
    /// last reply. So it is known for each command whether it ran.
    pub(super) fn drain(&mut self, failure: Failure, now: Timestamp, out: &mut Outputs) {
        if let Some(open) = &mut self.open {
            open.draining = Some(failure);
        }
        self.end_drained(now, out);
    }

    /// Ends the stream, if there is one.
    pub(super) fn hang_up(&mut self, failure: Failure, now: Timestamp, out: &mut Outputs) {
        let Some((stream, endpoint)) = self.take_stream() else {
            return;
        };
        out.close(stream.id());
        if stream.is_ready() {
            out.event(Event::Disconnected { endpoint, failure, in_flight: self.pipeline.in_flight() });
        }
        self.pipeline.on_broken(now, out);
    }

    /// Ends an idle stream.
    pub(super) fn close_idle(&mut self, out: &mut Outputs) {
        if let Some((stream, endpoint)) = self.take_stream() {
            out.close(stream.id());
            out.event(Event::IdleClosed { endpoint });
        }
    }

    /// The server owns keys with this tag; `None` if there is no such tag.
    pub(super) fn set_probe_tag(&mut self, tag: Option<u32>, now: Timestamp, out: &mut Outputs) {
        if std::mem::replace(&mut self.probe_tag, tag) == tag {
            return;
        }
        if let Some(tracking) = self.open.as_mut().and_then(|open| open.tracking.as_mut()) {
            tracking.give_up_key();
        }
        if self.tracking().is_some_and(Tracking::is_open) {
            self.ask(now, out, Tracking::probe);
        }
    }

    // What a topology asks for.

    /// The stream by which the server tells of changed keys.
    pub(super) fn tracks(&self) -> Option<StreamId> {
        let open = self.open.as_ref()?;
        self.tracking().is_some_and(Tracking::is_proven).then(|| open.stream.id())
    }

    /// Whether what was read over this stream is valid if no change was told, without a question.
    pub(super) fn serves(&mut self, stream: StreamId, now: Timestamp) -> Served {
        if self.tracks() != Some(stream) || self.possibly_stale_until.is_some_and(|until| now < until) {
            return Served::No;
        }
        let tracking = self.open.as_mut().and_then(|open| open.tracking.as_mut());
        tracking.map_or(Served::No, |tracking| tracking.serves(now))
    }

    /// The next question that keeps the stream fresh is about this key.
    pub(super) fn ask_for(&mut self, key: &[u8]) {
        if let Some(tracking) = self.open.as_mut().and_then(|open| open.tracking.as_mut()) {
            tracking.ask_for(key);
        }
    }

    /// Whether a command may wait. In a long outage it may wait only for an attempt that is due or under way.
    ///
    /// # Errors
    /// The last failure, if it may not wait.
    pub(super) fn admit(&self, now: Timestamp) -> Result<(), Failure> {
        let is_attempt = self.open.is_some() || self.reconnect.is_due(now);
        self.reconnect.verdict(now).filter(|_| !is_attempt).map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// What happened since the last call.
    pub(super) fn take_report(&mut self) -> ConnectionReport {
        std::mem::take(&mut self.report)
    }

    /// The commands that were not written yet, except those that only this server accepts.
    pub(super) fn take_waiting(&mut self) -> Vec<PendingCommand> {
        self.pipeline.take_waiting()
    }

    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// Whether the stream is this one.
    pub(super) fn owns(&self, id: StreamId) -> bool {
        self.open.as_ref().is_some_and(|open| open.stream.id() == id)
    }

    pub(super) const fn has_stream(&self) -> bool {
        self.open.is_some()
    }

    /// Whether there are commands without an outcome.
    pub(super) fn is_busy(&self) -> bool {
        !self.pipeline.is_empty()
    }

    /// Since when nothing arrived, if a reply is due.
    pub(super) fn silent_since(&self) -> Option<Timestamp> {
        let last_byte = self.open.as_ref()?.last_byte;
        self.pipeline.first_written().map(|at| at.max(last_byte))
    }

    /// When the next attempt to connect may begin; `None` means at once.
    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        self.reconnect.retry_at()
    }

    /// Whether an attempt to connect may begin.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.reconnect.is_due(now)
    }

    /// Whether there is no outage, and no reply has been due for `long`.
    pub(super) fn is_well(&self, long: Duration, now: Timestamp) -> bool {
        self.reconnect.retry_at().is_none() && self.silent_since().is_none_or(|since| since.after(long) > now)
    }

    pub(super) fn load(&self) -> Load {
        self.pipeline.load()
    }

    // The transitions.

    /// Asks for a stream, if a command needs it and the backoff is over.
    fn connect(&mut self, now: Timestamp, out: &mut Outputs) {
        if self.open.is_none()
            && let Some(endpoint) = &self.endpoint
            && !self.pipeline.is_empty()
            && self.reconnect.is_due(now)
        {
            let stream = Stream::open(endpoint, &self.settings.handshake(), now, out);
            self.open =
                Some(Open { stream, last_byte: now, last_reply: now, draining: None, tracking: None });
        }
    }

    /// Handles the end of the handshake, or a reply.
    ///
    /// # Errors
    /// The failure, if the stream has to end.
    fn on_stream_event(
        &mut self,
        event: StreamEvent,
        now: Timestamp,
        out: &mut Outputs,
    ) -> Result<(), Failure> {
        if let Some(open) = &mut self.open {
            open.last_reply = now;
        }
        match event {
            StreamEvent::Ready => {
                if let (Some(open), Some(endpoint)) = (&self.open, &self.endpoint) {
                    self.settings.handshake().accepted(endpoint, open.stream.is_named());
                }
                let last_server = std::mem::replace(&mut self.last_server, self.endpoint.clone());
                let is_another = last_server.is_some() && last_server != self.endpoint;
                if is_another || (last_server.is_some() && self.reconnect.is_outage()) {
                    self.mark_possibly_stale(now);
                }
                self.reconnect.connected();
                if let Some(endpoint) = self.endpoint.clone() {
                    out.event(Event::Connected { endpoint: endpoint.clone() });
                    if is_another {
                        out.event(Event::MasterChanged { endpoint });
                    }
                }
                self.begin_tracking(now, out);
            }
            StreamEvent::Reply(reply) => self.on_reply(reply, out)?,
            StreamEvent::Push(items) => {
                let tracking = self.open.as_mut().and_then(|open| open.tracking.as_mut());
                if let Some(changed) = tracking.and_then(|tracking| tracking.pushed(items)) {
                    out.changed(changed);
                }
            }
        }
        Ok(())
    }

    fn on_reply(&mut self, reply: Reply, out: &mut Outputs) -> Result<(), Failure> {
        if let (true, Reply::Error(error), Some(endpoint)) =
            (self.pipeline.answers_auth(), &reply, self.endpoint.clone())
        {
            out.event(Event::AuthRefused { endpoint, error: error.clone() });
        }
        let hands_back = self.settings.hands_back;
        // A server that answers `PING` may still run no command with a key.
        let is_run =
            self.pipeline.answers_key() && !matches!(&reply, Reply::Error(error) if hands_back(error));
        let is_possibly_stale = self.possibly_stale_until.is_some_and(|until| self.now < until);
        let tracked_by = self.tracks();
        let probed = self.note_reply(&reply);
        if tracked_by.is_some() && self.tracks().is_none() {
            // Pushes may be missing. If the server is trusted again, it is not trusted for what was read until now.
            out.changed(Changed::All);
        }
        let refused =
            self.pipeline.on_reply(reply, is_possibly_stale, hands_back, out).map_err(Failure::Protocol)?;
        if is_run {
            self.reconnect.succeeded();
        }
        self.report.refused.extend(refused);
        self.report.has_answered |= is_run;
        if let Some(result) = probed {
            let is_replaced = result == Err(Untracked::Replaced);
            self.on_probed(result, out);
            // A new stream may tell of changes again. But a proxy may have another connection for each command.
            let since = self.open.as_ref().map(|open| open.stream.since());
            if is_replaced && since.is_some_and(|since| !since.was_within(tracking::PERIOD, self.now)) {
                self.drain(Failure::Lost, self.now, out);
            }
        }
        Ok(())
    }

    // Tracking.

    fn tracking(&self) -> Option<&Tracking> {
        self.open.as_ref().filter(|open| open.draining.is_none())?.tracking.as_ref()
    }

    /// The handshake is done: finds out whether the server tells of changed keys.
    fn begin_tracking(&mut self, now: Timestamp, out: &mut Outputs) {
        let (Some(open), Some(config)) = (&mut self.open, &self.settings.tracking) else { return };
        let refusal = match open.stream.untracked() {
            _ if !open.stream.asks_for_tracking() => Some(Untracked::HangsUp),
            refusal => refusal.cloned(),
        };
        if let Some(refusal) = refusal {
            return self.on_probed(Err(refusal), out);
        }
        open.tracking = Some(Tracking::new(config, now));
        self.ask(now, out, Tracking::probe);
    }

    /// When to ask the server so that the stream stays fresh. A node that has no slots any more cannot be asked.
    fn question_at(&self) -> Option<Timestamp> {
        self.probe_tag?;
        self.tracking()?.question_at()
    }

    /// Asks the server if it has to be asked so that the stream stays fresh.
    fn keep_fresh(&mut self, now: Timestamp, out: &mut Outputs) {
        if self.question_at().is_some_and(|at| at <= now) {
            self.ask(now, out, Tracking::question);
        }
    }

    /// Writes commands of the tracking.
    fn ask(
        &mut self,
        now: Timestamp,
        out: &mut Outputs,
        question: fn(&mut Tracking, &str, Timestamp) -> Vec<Command>,
    ) {
        if let (Some(open), Some(config), Some(tag)) =
            (&mut self.open, &self.settings.tracking, self.probe_tag)
            && let Some(tracking) = &mut open.tracking
        {
            let prefix = tracking::key_prefix(config, tag, self.seed, open.stream.id());
            let commands = question(tracking, &prefix, now).into_iter();
            let bytes =
                commands.flat_map(|command| self.pipeline.write_for_ourselves(command, now)).collect();
            out.write(open.stream.id(), bytes);
        }
    }

    /// A reply arrived: what it means for the tracking.
    fn note_reply(&mut self, reply: &Reply) -> Option<Result<(), Untracked>> {
        self.pipeline.comes_by(self.tracks());
        let written = self.pipeline.first_written()?;
        let is_ours = self.pipeline.answers_ourselves();
        let is_moved = matches!(reply, Reply::Error(error) if error.code() == "MOVED");
        self.report.has_moved |= is_ours && is_moved;
        let tracking = self.open.as_mut()?.tracking.as_mut()?;
        if self.pipeline.answers_key() {
            tracking.replied(reply, is_ours, written, self.now)
        } else {
            let is_hello = is_ours && !self.pipeline.answers_auth();
            (is_hello && tracking.said_hello(reply)).then_some(Err(Untracked::Replaced))
        }
    }

    fn on_probed(&mut self, result: Result<(), Untracked>, out: &mut Outputs) {
        if let Some(endpoint) = self.endpoint.clone() {
            out.event(Event::Tracking { endpoint, result });
        }
    }

    /// Greets the server once more, without our name, if it may have hung up on that.
    fn retry_without_name(&mut self, why: &Failure, now: Timestamp, out: &mut Outputs) -> bool {
        let (Some(open), Some(endpoint)) = (&mut self.open, &self.endpoint) else {
            return false;
        };
        let hung_up = *why == Failure::Lost && open.stream.is_greeting() && open.stream.is_named();
        if hung_up {
            let since = open.stream.since();
            open.stream = Stream::open(endpoint, &self.settings.handshake(), now, out).without_name();
            // Both attempts together have the time of one.
            open.stream.backdate(since);
        }
        hung_up
    }

    /// The stream has ended: notes the outage, and lets the commands wait for the next stream or fail.
    fn on_ended(&mut self, failure: Failure, now: Timestamp, out: &mut Outputs) {
        let Some((stream, endpoint)) = self.take_stream() else {
            return;
        };
        self.report.has_failed = true;
        if stream.is_ready() {
            let in_flight = self.pipeline.in_flight();
            out.event(Event::Disconnected { endpoint, failure: failure.clone(), in_flight });
            let is_well = in_flight == 0 && matches!(failure, Failure::Lost | Failure::NotMaster);
            if !is_well {
                self.reconnect.failed(failure, now, now);
            }
            self.pipeline.on_broken(now, out);
            self.pipeline.give_up(|sent_at| self.reconnect.verdict(sent_at), out);
        } else {
            let failure = failure.before_ready();
            out.event(Event::ConnectFailed { endpoint, failure: failure.clone() });
            self.reconnect.failed(self.settings.handshake().for_waiting(failure), stream.since(), now);
            self.pipeline.give_up(|sent_at| self.reconnect.verdict(sent_at), out);
        }
        self.connect(now, out);
    }

    /// Ends a draining stream if nothing is in flight.
    fn end_drained(&mut self, now: Timestamp, out: &mut Outputs) {
        if let Some(open) = &self.open
            && let Some(failure) = open.draining.clone()
            && self.pipeline.in_flight() == 0
        {
            out.close(open.stream.id());
            self.on_ended(failure, now, out);
        }
    }

    /// Takes the stream away, and with it the endpoint, if that has to be looked up again for each stream.
    fn take_stream(&mut self) -> Option<(Stream, Endpoint)> {
        let Open { stream, .. } = self.open.take()?;
        let endpoint = self.endpoint.clone()?;
        if self.settings.is_resolved_per_stream {
            self.endpoint = None;
        }
        Some((stream, endpoint))
    }

    fn expire(&mut self, now: Timestamp, out: &mut Outputs) {
        let is_arriving = self.open.as_ref().is_some_and(|open| open.stream.is_within_reply());
        self.pipeline.expire(is_arriving, now, out);
    }

    /// When the stream is presumed hung, unless something arrives before.
    fn hung_at(&self) -> Option<Timestamp> {
        let Open { last_byte, last_reply, .. } = self.open.as_ref()?;
        let (written, timeout) = (self.pipeline.first_written()?, self.settings.command_timeout);
        let silent = written.max(*last_byte).after(timeout);
        let endless = written.max(*last_reply).after(timeout.saturating_mul(REPLY_TIMEOUTS));
        Some(silent.min(endless))
    }

    /// When the stream has to be ready, or has been idle for too long.
    fn stream_deadline(&self) -> Option<Timestamp> {
        let Open { stream, last_reply, .. } = self.open.as_ref()?;
        if stream.is_ready() {
            if !self.pipeline.is_empty() {
                return None;
            }
            let idle = self.settings.idle_timeout.map(|timeout| last_reply.after(timeout));
            // The next stream finds out whether the server hangs up again.
            let handshake = self.settings.handshake();
            let may_track = !stream.is_named() && handshake.is_tracking();
            let is_tried_again =
                may_track && self.endpoint.as_ref().is_some_and(|server| handshake.sends_name_to(server));
            let end = is_tried_again.then(|| stream.since().after(NAMELESS));
            return [idle, end].into_iter().flatten().min();
        }
        Some(stream.since().after(self.settings.connect_timeout))
    }
}
