//! The masters of a Cluster, each with some of the 16,384 slots.
//!
//! ```text
//! a command ── no map yet ──► parked ◄──── CLUSTERDOWN, LOADING, ...: for a moment ─────┐
//!           │                  │                                                        │
//!           └── slot ── map ───┴──► Connection of the slot's master ── other replies ──►│ Done
//!                                     ▲   ▲                                             │
//!                                     │   └── MOVED: and the slot is there from now on ─┤
//!                                     └────── ASK: with ASKING before it, this once ────┘
//!
//! the map:   Unknown ── a command waits ──► Asking ── the map ──► Known ── stale, a command waits ──► Asking
//!              ▲                           │  ▲ │                   ▲                                   │
//!              │                 no map: the  │ │                   └──── the map, or nobody told it ───┘
//!              │                 next node └──┘ │
//!              └──────── backoff ◄── nobody told it
//! ```
//!
//! - A map is stale when a node said `MOVED`, broke, was not ready, or owes a reply for a quarter of a
//!   command's time, and after a minute. Then some of the masters are asked for a new one, then the seeds;
//!   four times a second at most. By `CLUSTER SHARDS`, or by `CLUSTER SLOTS` where that tells nothing.
//! - With a new map, commands that were not written yet go where they belong by it. So they leave a master
//!   that died for the replica that took over; what was in flight is among them, if it may run twice.
//! - A node that may not be named is not connected to. A map that names one is not taken at all, for another node may
//!   know better; a command that is sent there fails.
//! - An error of these kinds says that the command did not run. So it is sent again whatever it is, up to
//!   its deadline; but it is not redirected without end.
//! - A node that breaks is reconnected to as a single server is, with its own backoff.
//! - A cluster whose nodes run no command for long answers each with the first error. The command is sent
//!   all the same: another part of the cluster may be well.
//! - A node that becomes a master may lack the last writes of the one before it, see `connection`.
//! - Without commands there are no attempts and no timers.

mod map;
mod nodes;
mod redirect;
mod shards;
mod slot;
mod slots;
mod survey;

use std::rc::Rc;
use std::time::Duration;

use self::map::Map;
use self::nodes::Nodes;
use self::redirect::Redirect;
use self::survey::{Asker, Survey};
use super::config::{ClientConfig, Endpoint};
use super::connection::Connection;
use super::failure::Failure;
use super::handshake::Handshake;
use super::load::Load;
use super::naming::Naming;
use super::output::{CommandId, Event, Outbox, StreamId};
use super::pending::PendingCommand;
use super::reconnect::{Jitter, Reconnect};
use super::reply::Reply;
use super::router::Router;
use super::settings::Settings;
use super::waiting::Waiting;
use crate::time::Timestamp;

/// How many times nodes may name others for one command.
const MAX_REDIRECTS: u8 = 5;

/// How old a map becomes, where there are commands.
const MAX_AGE: Duration = Duration::from_secs(60);

/// From a map to the question for the next.
const PAUSE: Duration = Duration::from_millis(250);

/// So many of the masters are asked for a map before the seeds.
const ASKED: usize = 3;

/// A node has this part of a command's time for the map, so that several can be asked in it.
const PART: u32 = 4;

pub(super) struct Cluster {
    seeds: Vec<Endpoint>,
    naming: Rc<Naming>,
    asker: Asker,
    timeout: Duration,
    map: Option<Map>,
    /// When the map was told, or nobody could tell it.
    asked_at: Timestamp,
    is_stale: bool,
    survey: Option<Survey>,
    nodes: Nodes,
    /// Commands that wait for the map, or until `retry_at`.
    parked: Waiting,
    retry_at: Option<Timestamp>,
    /// The outage where nobody tells the map.
    seeking: Reconnect,
    /// The outage where nodes are there, but do not run commands.
    trouble: Reconnect,
    random: Jitter,
}

impl Cluster {
    pub(super) fn new(seeds: &[Endpoint], config: &ClientConfig, seed: u64) -> Self {
        let timeout = config.command_timeout;
        let handshake = || Handshake::new(config.credentials.as_ref(), &config.client_name);
        let settings = Settings::new(config, handshake(), |error| Redirect::is(error) || error.is_unready());
        let patience = config.connect_timeout.min(config.command_timeout / PART);
        let mut random = Jitter::new(seed);
        let naming = Rc::new(Naming::new(config));
        Self {
            seeds: seeds.to_vec(),
            naming: Rc::clone(&naming),
            asker: Asker::new(Rc::new(handshake()), naming, patience),
            timeout,
            map: None,
            asked_at: Timestamp::from_secs(0),
            is_stale: false,
            survey: None,
            nodes: Nodes::new(Rc::new(settings.replicated())),
            parked: Waiting::new(timeout),
            retry_at: None,
            seeking: Reconnect::new(random.next(), timeout),
            trouble: Reconnect::new(random.next(), timeout),
            random,
        }
    }

    /// Whether a command may wait: not in a long outage, unless for an attempt that is due or under way.
    fn admit(&self, slot: Option<u16>, now: Timestamp) -> Result<(), Failure> {
        let seeks = self.map.is_some() || self.survey.is_some() || self.seeking.is_due(now);
        if let Some(failure) = self.seeking.verdict(now).filter(|_| !seeks) {
            return Err(failure.clone());
        }
        let owner = slot.and_then(|slot| self.map.as_ref()?.owner(slot));
        owner.and_then(|owner| self.nodes.get(owner)).map_or(Ok(()), |node| node.admit(now))
    }

    /// Sends a command to the master of its slot; one without a key, or whose slot nobody has, to any.
    fn dispatch(&mut self, mut pending: PendingCommand, slot: Option<u16>, now: Timestamp, out: &mut Outbox) {
        pending.is_asking = false;
        let owner = slot.and_then(|slot| self.map.as_ref()?.owner(slot));
        match owner.and_then(|owner| self.nodes.get_mut(owner)) {
            Some(node) if pending.deadline(self.timeout) > now => node.push(pending, now, out),
            _ => match owner.cloned().or_else(|| self.any(now)) {
                Some(endpoint) => self.give(pending, &endpoint, now, out),
                None => self.parked.push(pending),
            },
        }
    }

    /// Sends a command again, to wherever it belongs by now.
    fn dispatch_again(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outbox) {
        let slot = pending.command.key().map(slot::slot);
        self.dispatch(pending, slot, now, out);
    }

    /// Any of the masters, but one that is away only if all are.
    fn any(&mut self, now: Timestamp) -> Option<Endpoint> {
        let masters = self.map.as_ref()?.masters();
        let random = usize::try_from(self.random.next() >> 33).unwrap_or(0);
        let start = random.checked_rem(masters.len())?;
        let (before, after) = masters.split_at_checked(start)?;
        let is_well = |master: &&Endpoint| {
            self.nodes.get(master).is_none_or(|node| node.is_well(self.asker.timeout, now))
        };
        let mut turn = after.iter().chain(before);
        turn.clone().find(is_well).or_else(|| turn.next()).cloned()
    }

    fn give(&mut self, mut pending: PendingCommand, endpoint: &Endpoint, now: Timestamp, out: &mut Outbox) {
        if pending.deadline(self.timeout) <= now {
            pending.expired(out);
            return;
        }
        let is_listed = self.map.as_ref().is_some_and(|map| map.masters().contains(endpoint));
        match self.nodes.get_or_add(endpoint, is_listed, self.random.next(), out) {
            Some(node) => node.push(pending, now, out),
            None => pending.done(Err(Failure::Overloaded), out),
        }
    }

    /// A node did not run a command.
    fn refused(&mut self, from: &Endpoint, mut pending: PendingCommand, now: Timestamp, out: &mut Outbox) {
        let Some(error) = pending.refusal.take() else {
            return;
        };
        if let Some(unasked) = pending.unasked.take().filter(|_| Redirect::is(&error)) {
            // It names the node that named it, and so on: without `ASKING` there is no way to the key.
            pending.done(Ok(Reply::Error(unasked)), out);
            return;
        }
        let redirect = match Redirect::read(&error, from, &self.naming) {
            Ok(redirect) => redirect.filter(|_| pending.redirects < MAX_REDIRECTS),
            Err(failure) => {
                // Another node may know better.
                self.is_stale = true;
                pending.done(Err(failure), out);
                return;
            }
        };
        pending.redirects = pending.redirects.saturating_add(1);
        match redirect {
            Some(Redirect::Moved(endpoint)) => {
                let slot = pending.command.key().map(slot::slot);
                let is_new = self.map.as_ref().is_some_and(|map| !map.masters().contains(&endpoint));
                if let (Some(slot), Some(map)) = (slot, &mut self.map) {
                    map.moved(slot, &endpoint);
                }
                if is_new {
                    self.rose(&endpoint, now, out);
                }
                self.is_stale = true;
                pending.is_asking = false;
                self.give(pending, &endpoint, now, out);
            }
            Some(Redirect::Ask(endpoint)) => {
                pending.is_asking = true;
                self.give(pending, &endpoint, now, out);
            }
            None if error.is_unready() => {
                self.is_stale = true;
                if self.trouble.is_due(now) {
                    self.trouble.failed(Failure::NotReady(error.clone()), now, now);
                }
                if let Some(failure) = self.trouble.verdict(pending.sent_at) {
                    pending.done(Err(failure.clone()), out);
                } else {
                    self.retry_at = self.retry_at.or(self.trouble.retry_at());
                    pending.refusal = Some(error);
                    self.parked.push(pending);
                }
            }
            None => pending.done(Ok(Reply::Error(error)), out),
        }
    }

    /// Does what has become necessary.
    fn settle(&mut self, now: Timestamp, out: &mut Outbox) {
        let mut refused = Vec::new();
        for (endpoint, news) in self.nodes.take_news() {
            self.is_stale |= news.has_failed;
            if news.has_answered {
                self.trouble.succeeded();
            }
            refused.extend(news.refused.into_iter().map(|pending| (endpoint.clone(), pending)));
        }
        for (endpoint, pending) in refused {
            self.refused(&endpoint, pending, now, out);
        }
        self.parked.expire(now, out);
        if self.map.is_some() && self.retry_at.is_none_or(|retry_at| retry_at <= now) {
            self.retry_at = None;
            for pending in self.parked.take() {
                self.dispatch_again(pending, now, out);
            }
        }
        self.ask_if_due(now, out);
        self.nodes.retire(out);
    }

    fn ask_if_due(&mut self, now: Timestamp, out: &mut Outbox) {
        if self.survey.is_none() && self.question_at().is_some_and(|at| at <= now) {
            self.ask(now, out);
        }
    }

    /// When nodes are to be asked for the map, where somebody needs it.
    fn question_at(&self) -> Option<Timestamp> {
        if self.parked.is_empty() && !self.nodes.is_busy() {
            return None;
        }
        let next = self.asked_at.after(PAUSE);
        match self.map {
            None => Some(self.seeking.retry_at().unwrap_or(Timestamp::from_secs(0))),
            Some(_) if self.is_stale => Some(next),
            // A node that owes a reply may be a master no more.
            Some(_) => self.nodes.silent_since().map(|since| since.after(self.asker.timeout).max(next)),
        }
    }

    fn ask(&mut self, now: Timestamp, out: &mut Outbox) {
        let mut nodes: Vec<Endpoint> = Vec::new();
        let masters: Vec<_> = (0..ASKED).filter_map(|_| self.any(now)).collect();
        for endpoint in masters.iter().chain(&self.seeds) {
            if !nodes.contains(endpoint) {
                nodes.push(endpoint.clone());
            }
        }
        self.survey = Survey::open(&self.asker, nodes.into(), now, out);
        if self.survey.is_none() {
            self.seeking.failed(Failure::Unreachable, now, now);
        }
    }

    /// A node told the map.
    fn told(&mut self, map: Map, now: Timestamp, out: &mut Outbox) {
        self.seeking.succeeded();
        self.asked_at = now;
        self.is_stale = false;
        if self.map.as_ref() == Some(&map) {
            return;
        }
        out.event(Event::SlotsChanged { masters: map.masters().len() });
        self.nodes.list(&map);
        self.nodes.abandon(self.asker.timeout, now, out);
        let is_new =
            |master: &&Endpoint| self.map.as_ref().is_some_and(|map| !map.masters().contains(master));
        let risen: Vec<_> = map.masters().iter().filter(is_new).cloned().collect();
        self.map = Some(map);
        self.retry_at = None;
        for master in risen {
            self.rose(&master, now, out);
        }
        for pending in self.nodes.take_waiting() {
            self.dispatch_again(pending, now, out);
        }
    }

    /// A node is a master now that was none: most of the time a replica that took over.
    fn rose(&mut self, master: &Endpoint, now: Timestamp, out: &mut Outbox) {
        out.event(Event::MasterChanged { endpoint: master.clone() });
        if let Some(node) = self.nodes.get_or_add(master, true, self.random.next(), out) {
            node.doubt(now);
        }
    }

    /// The node that was asked does not tell the map.
    fn untold(&mut self, failure: Failure, now: Timestamp, out: &mut Outbox) {
        let Some(survey) = self.survey.take() else {
            return;
        };
        self.asker.learn(&survey);
        out.event(Event::AskFailed { endpoint: survey.endpoint.clone(), failure: failure.clone() });
        let since = survey.since;
        self.survey = survey.next(now, out);
        if self.survey.is_none() {
            self.asked_at = now;
            if self.map.is_none() {
                self.seeking.failed(failure, since, now);
                self.parked.give_up(|sent_at| self.seeking.verdict(sent_at), out);
            }
        }
    }

    fn surveys(&self, stream: StreamId) -> bool {
        self.survey.as_ref().is_some_and(|survey| survey.id() == stream)
    }

    fn survey_received(&mut self, bytes: &[u8], now: Timestamp, out: &mut Outbox) {
        let Some(survey) = &mut self.survey else {
            return;
        };
        let id = survey.id();
        match survey.received(bytes, out) {
            Ok(None) => {}
            Ok(Some(map)) => {
                out.close(id);
                self.asker.learn(survey);
                self.survey = None;
                self.told(map, now, out);
            }
            Err(failure) => {
                out.close(id);
                self.untold(failure, now, out);
            }
        }
    }

    /// What is overdue.
    fn pass(&mut self, now: Timestamp, out: &mut Outbox) {
        for node in self.nodes.iter_mut() {
            node.wake(now, out);
        }
        self.parked.expire(now, out);
        if let Some(survey) = &self.survey
            && survey.deadline() <= now
        {
            out.close(survey.id());
            self.untold(Failure::Unreachable, now, out);
        }
        self.settle(now, out);
    }
}

impl Router for Cluster {
    fn send(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outbox) {
        if self.next_wake().is_some_and(|wake| wake <= now) {
            self.pass(now, out);
        }
        self.is_stale |= now >= self.asked_at.after(MAX_AGE);
        let slot = pending.command.key().map(slot::slot);
        match self.admit(slot, now) {
            Ok(()) => self.dispatch(pending, slot, now, out),
            Err(failure) => pending.done(Err(failure), out),
        }
        // Also where the command failed at once, because its master is away: another one may be there by now. That a
        // node owes a reply for too long, the next wake finds out.
        let is_question = match self.map {
            None => self.question_at().is_some_and(|at| at <= now),
            Some(_) => self.is_stale && self.asked_at.after(PAUSE) <= now,
        };
        if is_question && self.survey.is_none() {
            self.ask(now, out);
        }
    }

    fn cancel(&mut self, command: CommandId) {
        if !self.parked.cancel(command) {
            self.nodes.iter_mut().for_each(|node| node.cancel(command));
        }
    }

    fn opened(&mut self, stream: StreamId, out: &mut Outbox) {
        if let Some(survey) = &mut self.survey {
            survey.opened(stream, out);
        }
        if let Some(node) = self.nodes.owner(stream) {
            node.opened(stream, out);
        }
    }

    fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp, out: &mut Outbox) {
        if self.surveys(stream) {
            self.survey_received(bytes, now, out);
        } else if let Some(node) = self.nodes.owner(stream) {
            node.received(stream, bytes, now, out);
        }
        self.settle(now, out);
    }

    fn closed(&mut self, stream: StreamId, why: Failure, now: Timestamp, out: &mut Outbox) {
        if self.surveys(stream) {
            self.untold(why.before_ready(), now, out);
        } else if let Some(node) = self.nodes.owner(stream) {
            node.closed(stream, why, now, out);
        }
        self.settle(now, out);
    }

    fn wake(&mut self, now: Timestamp, out: &mut Outbox) {
        self.pass(now, out);
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let question = self.question_at().filter(|_| self.survey.is_none());
        let retry = self.retry_at.filter(|_| !self.parked.is_empty() && self.map.is_some());
        let survey = self.survey.as_ref().map(Survey::deadline);
        let times = [self.nodes.next_wake(), self.parked.next_deadline(), question, retry, survey];
        times.into_iter().flatten().min()
    }

    fn flush(&mut self, out: &mut Outbox) {
        self.nodes.iter_mut().for_each(|node| node.flush(out));
    }

    fn load(&self) -> Load {
        let parked = Load { commands: self.parked.len(), bytes: self.parked.bytes() };
        self.nodes.iter().map(Connection::load).fold(parked, Load::and)
    }
}
