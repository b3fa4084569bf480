//! The masters of a Cluster, each with some of the 16,384 slots.
//!
//! ```text
//! a command ── no map yet ──► parked ◄──── CLUSTERDOWN, LOADING, ...: for a short time ─┐
//!           │                  │                                                        │
//!           └── slot ── map ───┴──► Connection of the slot's master ── other replies ──►│ Done
//!                                     ▲   ▲                                             │
//!                                     │   └── MOVED: and the slot is there from now on ─┤
//!                                     └────── ASK: with ASKING before it, this once ────┘
//!
//! the map:   Unknown ── a command waits ──► Asking ── the map ──► Known ── stale, a command waits ──► Asking
//!              ▲                           │  ▲ │                   ▲                                   │
//!              │                 no map: the  │ │                   └──── the map, or no node gave it ──┘
//!              │                 next node └──┘ │
//!              └──────── backoff ◄── no node gave it
//! ```
//!
//! - A map is stale if a node answered `MOVED`, broke, was not ready, or has owed a reply for a quarter of a
//!   command's time; and after a minute. Then some of the masters are asked for a new map, and then the seeds, at
//!   most four times a second. The question is `CLUSTER SHARDS`, and `CLUSTER SLOTS` if that gives no map.
//! - With a new map, commands that were not written yet go to their master in it. So they move from a dead master to
//!   the replica that took over. The commands that were in flight are among them, if they may run twice.
//! - The client does not connect to a node that may not be announced. A map with such a node is not used, because
//!   another node may give a better one. A command that is redirected to such a node fails.
//! - The errors in the picture say that the command did not run. So it is sent again, even if it must not run twice,
//!   up to its deadline. The number of its redirects is limited.
//! - If the connection to a node breaks, the client reconnects as to a single server, with a backoff of its own.
//! - If the nodes run no command for a long time, each command fails with its first error. It is still sent, because
//!   another part of the Cluster may work.
//! - A node that becomes a master may lack the last writes to the one before it, see `connection`.
//! - Without commands there are no attempts and no timers.

mod map;
mod map_refresh;
mod nodes;
mod redirect;
mod shards;
mod slot;
mod slots;

use std::rc::Rc;
use std::time::Duration;

use self::map::Map;
use self::map_refresh::{MapRefresh, MapSource};
use self::nodes::Nodes;
use self::redirect::Redirect;
use super::announce_policy::AnnouncePolicy;
use super::config::{ClientConfig, Credentials, Servers};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::handshake::Handshake;
use super::load::Load;
use super::output::{CommandId, Event, Outputs, StreamId};
use super::pending::PendingCommand;
use super::reconnect::{Jitter, Reconnect};
use super::reply::Reply;
use super::router::Router;
use super::settings::Settings;
use super::tracking::Served;
use super::waiting::Waiting;
use crate::time::Timestamp;

/// How many times one command may be redirected.
const MAX_REDIRECTS: u8 = 5;

/// The greatest age of a map, if there are commands.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The pause between a refresh of the map and the next.
const REFRESH_PAUSE: Duration = Duration::from_millis(250);

/// This many masters are asked for a map before the seeds.
const MASTERS_ASKED: usize = 3;

/// A node has this part of a command's time for the map, so that several nodes can be asked in that time.
const PART: u32 = 4;

pub(super) struct Cluster {
    seeds: Vec<Endpoint>,
    policy: Rc<AnnouncePolicy>,
    source: MapSource,
    timeout: Duration,
    map: Option<Map>,
    /// When a refresh of the map ended, with a map or without.
    refreshed_at: Timestamp,
    is_stale: bool,
    refresh: Option<MapRefresh>,
    nodes: Nodes,
    /// Commands that wait for the map, or until `retry_at`.
    parked: Waiting,
    retry_at: Option<Timestamp>,
    /// The outage in which no node gives the map.
    map_outage: Reconnect,
    /// The outage in which nodes are there, but run no commands.
    unready_outage: Reconnect,
    random: Jitter,
}

impl Cluster {
    pub(super) fn new(seeds: &[Endpoint], config: &ClientConfig, seed: u64) -> Self {
        let timeout = config.command_timeout;
        let handshake = || Handshake::new(config.credentials.as_ref(), &config.client_name);
        let tracking = handshake().with_tracking(config.tracking.is_some());
        let settings = Settings::new(config, tracking, |error| Redirect::is(error) || error.is_unready());
        let patience = config.connect_timeout.min(config.command_timeout / PART);
        let mut random = Jitter::new(seed);
        let policy = Rc::new(AnnouncePolicy::new(config));
        Self {
            seeds: seeds.to_vec(),
            policy: Rc::clone(&policy),
            source: MapSource::new(Rc::new(handshake()), policy, patience),
            timeout,
            map: None,
            refreshed_at: Timestamp::from_secs(0),
            is_stale: false,
            refresh: None,
            nodes: Nodes::new(Rc::new(settings.replicated())),
            parked: Waiting::new(timeout),
            retry_at: None,
            map_outage: Reconnect::new(random.next(), timeout),
            unready_outage: Reconnect::new(random.next(), timeout),
            random,
        }
    }

    /// Whether a command may wait. In a long outage it may wait only for an attempt that is due or under way.
    fn admit(&self, slot: Option<u16>, now: Timestamp) -> Result<(), Failure> {
        let is_attempt = self.map.is_some() || self.refresh.is_some() || self.map_outage.is_due(now);
        if let Some(failure) = self.map_outage.verdict(now).filter(|_| !is_attempt) {
            return Err(failure.clone());
        }
        let owner = slot.and_then(|slot| self.map.as_ref()?.owner(slot));
        owner.and_then(|owner| self.nodes.get(owner)).map_or(Ok(()), |node| node.admit(now))
    }

    /// Sends a command to the master of its slot. Without a key, or if the slot has no master, any master gets it.
    fn dispatch(
        &mut self,
        mut pending: PendingCommand,
        slot: Option<u16>,
        now: Timestamp,
        out: &mut Outputs,
    ) {
        pending.is_asking = false;
        let owner = slot.and_then(|slot| self.map.as_ref()?.owner(slot));
        match owner.and_then(|owner| self.nodes.get_mut(owner)) {
            Some(node) if pending.deadline(self.timeout) > now => node.push(pending, now, out),
            _ => match owner.cloned().or_else(|| self.any_master(now)) {
                Some(endpoint) => self.send_to(pending, &endpoint, now, out),
                None => self.parked.push(pending),
            },
        }
    }

    /// Sends a command to the node to which it belongs by now.
    fn redispatch(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outputs) {
        let slot = pending.command.key().map(slot::slot);
        self.dispatch(pending, slot, now, out);
    }

    /// A random master that works, or a random one if none does.
    fn any_master(&mut self, now: Timestamp) -> Option<Endpoint> {
        let masters = self.map.as_ref()?.masters();
        let random = usize::try_from(self.random.next() >> 33).unwrap_or(0);
        let start = random.checked_rem(masters.len())?;
        let (before, after) = masters.split_at_checked(start)?;
        let is_well = |master: &&Endpoint| {
            self.nodes.get(master).is_none_or(|node| node.is_well(self.source.timeout, now))
        };
        let mut turn = after.iter().chain(before);
        turn.clone().find(is_well).or_else(|| turn.next()).cloned()
    }

    fn send_to(
        &mut self,
        mut pending: PendingCommand,
        endpoint: &Endpoint,
        now: Timestamp,
        out: &mut Outputs,
    ) {
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
    fn on_refused(
        &mut self,
        from: &Endpoint,
        mut pending: PendingCommand,
        now: Timestamp,
        out: &mut Outputs,
    ) {
        let Some(error) = pending.refusal.take() else {
            return;
        };
        if let Some(unasked) = pending.unasked.take().filter(|_| Redirect::is(&error)) {
            // Without `ASKING` the two nodes would redirect the command to each other without end.
            pending.done(Ok(Reply::Error(unasked)), out);
            return;
        }
        let redirect = match Redirect::read(&error, from, &self.policy) {
            Ok(redirect) => redirect.filter(|_| pending.redirects < MAX_REDIRECTS),
            Err(failure) => {
                // Another node may give a better map.
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
                    self.on_promoted(&endpoint, now, out);
                }
                self.is_stale = true;
                pending.is_asking = false;
                self.send_to(pending, &endpoint, now, out);
            }
            Some(Redirect::Ask(endpoint)) => {
                pending.is_asking = true;
                self.send_to(pending, &endpoint, now, out);
            }
            None if error.is_unready() => {
                self.is_stale = true;
                if self.unready_outage.is_due(now) {
                    self.unready_outage.failed(Failure::NotReady(error.clone()), now, now);
                }
                if let Some(failure) = self.unready_outage.verdict(pending.sent_at) {
                    pending.done(Err(failure.clone()), out);
                } else {
                    self.retry_at = self.retry_at.or(self.unready_outage.retry_at());
                    pending.refusal = Some(error);
                    self.parked.push(pending);
                }
            }
            None => pending.done(Ok(Reply::Error(error)), out),
        }
    }

    /// Handles what happened at the nodes, and sends the parked commands if it is time.
    fn process(&mut self, now: Timestamp, out: &mut Outputs) {
        let mut refused = Vec::new();
        for (endpoint, report) in self.nodes.take_report() {
            self.is_stale |= report.has_failed || report.has_moved;
            if report.has_answered {
                self.unready_outage.succeeded();
            }
            refused.extend(report.refused.into_iter().map(|pending| (endpoint.clone(), pending)));
        }
        for (endpoint, pending) in refused {
            self.on_refused(&endpoint, pending, now, out);
        }
        self.parked.expire(now, out);
        if self.map.is_some() && self.retry_at.is_none_or(|retry_at| retry_at <= now) {
            self.retry_at = None;
            for pending in self.parked.take() {
                self.redispatch(pending, now, out);
            }
        }
        self.refresh_map_if_due(now, out);
        self.nodes.remove_unlisted(out);
    }

    fn refresh_map_if_due(&mut self, now: Timestamp, out: &mut Outputs) {
        if self.refresh.is_none() && self.refresh_at().is_some_and(|at| at <= now) {
            self.refresh_map(now, out);
        }
    }

    /// When to refresh the map, if a command needs it.
    fn refresh_at(&self) -> Option<Timestamp> {
        if self.parked.is_empty() && !self.nodes.is_busy() {
            return None;
        }
        let next = self.refreshed_at.after(REFRESH_PAUSE);
        match self.map {
            None => Some(self.map_outage.retry_at().unwrap_or(Timestamp::from_secs(0))),
            Some(_) if self.is_stale => Some(next),
            // A node that owes a reply may no longer be a master.
            Some(_) => self.nodes.silent_since().map(|since| since.after(self.source.timeout).max(next)),
        }
    }

    fn refresh_map(&mut self, now: Timestamp, out: &mut Outputs) {
        let mut nodes: Vec<Endpoint> = Vec::new();
        let masters: Vec<_> = (0..MASTERS_ASKED).filter_map(|_| self.any_master(now)).collect();
        for endpoint in masters.iter().chain(&self.seeds) {
            if !nodes.contains(endpoint) {
                nodes.push(endpoint.clone());
            }
        }
        self.refresh = MapRefresh::open(&self.source, nodes.into(), now, out);
        if self.refresh.is_none() {
            self.map_outage.failed(Failure::Unreachable, now, now);
        }
    }

    /// A node gave the map.
    fn on_map(&mut self, map: Map, now: Timestamp, out: &mut Outputs) {
        self.map_outage.succeeded();
        self.refreshed_at = now;
        self.is_stale = false;
        if self.map.as_ref() == Some(&map) {
            return;
        }
        out.event(Event::SlotsChanged { masters: map.masters().len() });
        self.nodes.mark_listed(&map, now, out);
        self.nodes.close_stale(self.source.timeout, now, out);
        let is_new =
            |master: &&Endpoint| self.map.as_ref().is_some_and(|map| !map.masters().contains(master));
        let promoted: Vec<_> = map.masters().iter().filter(is_new).cloned().collect();
        self.map = Some(map);
        self.retry_at = None;
        for master in promoted {
            self.on_promoted(&master, now, out);
        }
        for pending in self.nodes.take_waiting() {
            self.redispatch(pending, now, out);
        }
    }

    /// A node has become a master. Most of the time it is a replica that took over.
    fn on_promoted(&mut self, master: &Endpoint, now: Timestamp, out: &mut Outputs) {
        out.event(Event::MasterChanged { endpoint: master.clone() });
        if let Some(node) = self.nodes.get_or_add(master, true, self.random.next(), out) {
            node.mark_possibly_stale(now);
        }
    }

    /// The node that was asked does not give the map.
    fn on_map_failed(&mut self, failure: Failure, now: Timestamp, out: &mut Outputs) {
        let Some(refresh) = self.refresh.take() else {
            return;
        };
        self.source.learn(&refresh);
        out.event(Event::LookupFailed { endpoint: refresh.endpoint.clone(), failure: failure.clone() });
        let since = refresh.since;
        self.refresh = refresh.next(now, out);
        if self.refresh.is_none() {
            self.refreshed_at = now;
            if self.map.is_none() {
                self.map_outage.failed(self.source.handshake.for_waiting(failure), since, now);
                self.parked.give_up(|sent_at| self.map_outage.verdict(sent_at), out);
            }
        }
    }

    fn refreshes_map_on(&self, stream: StreamId) -> bool {
        self.refresh.as_ref().is_some_and(|refresh| refresh.id() == stream)
    }

    fn on_map_bytes(&mut self, bytes: &[u8], now: Timestamp, out: &mut Outputs) {
        let Some(refresh) = &mut self.refresh else {
            return;
        };
        let id = refresh.id();
        match refresh.received(bytes, out) {
            Ok(None) => {}
            Ok(Some(map)) => {
                out.close(id);
                self.source.learn(refresh);
                self.refresh = None;
                self.on_map(map, now, out);
            }
            Err(failure) => {
                out.close(id);
                self.on_map_failed(failure, now, out);
            }
        }
    }

    /// Handles timeouts.
    fn handle_timeout(&mut self, now: Timestamp, out: &mut Outputs) {
        for node in self.nodes.iter_mut() {
            node.wake(now, out);
        }
        self.parked.expire(now, out);
        if let Some(refresh) = &self.refresh
            && refresh.deadline() <= now
        {
            out.close(refresh.id());
            self.on_map_failed(Failure::Unreachable, now, out);
        }
        self.process(now, out);
    }
}

impl Router for Cluster {
    fn set_credentials(&mut self, _: Servers, credentials: &Credentials, now: Timestamp, out: &mut Outputs) {
        self.source.handshake = Rc::new(self.source.handshake.with_credentials(credentials));
        self.nodes.authenticate(credentials, now, out);
        self.map_outage.retry_now(now);
    }

    fn send(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outputs) {
        if self.next_wake().is_some_and(|wake| wake <= now) {
            self.handle_timeout(now, out);
        }
        self.is_stale |= now >= self.refreshed_at.after(MAX_AGE);
        let slot = pending.command.key().map(slot::slot);
        match self.admit(slot, now) {
            Ok(()) => self.dispatch(pending, slot, now, out),
            Err(failure) => pending.done(Err(failure), out),
        }
        // Also if the command failed at once because its master is away: there may be another one by now. `wake`
        // finds out if a node has owed a reply for too long.
        let is_due = match self.map {
            None => self.refresh_at().is_some_and(|at| at <= now),
            Some(_) => self.is_stale && self.refreshed_at.after(REFRESH_PAUSE) <= now,
        };
        if is_due && self.refresh.is_none() {
            self.refresh_map(now, out);
        }
    }

    fn cancel(&mut self, command: CommandId) {
        if !self.parked.cancel(command) {
            self.nodes.iter_mut().for_each(|node| node.cancel(command));
        }
    }

    fn opened(&mut self, stream: StreamId, out: &mut Outputs) {
        if let Some(refresh) = &mut self.refresh {
            refresh.opened(stream, out);
        }
        if let Some(node) = self.nodes.owner(stream) {
            node.opened(stream, out);
        }
    }

    fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp, out: &mut Outputs) {
        if self.refreshes_map_on(stream) {
            self.on_map_bytes(bytes, now, out);
        } else if let Some(node) = self.nodes.owner(stream) {
            node.received(stream, bytes, now, out);
        }
        self.process(now, out);
    }

    fn closed(&mut self, stream: StreamId, why: Failure, now: Timestamp, out: &mut Outputs) {
        if self.refreshes_map_on(stream) {
            self.on_map_failed(why.before_ready(), now, out);
        } else if let Some(node) = self.nodes.owner(stream) {
            node.closed(stream, why, now, out);
        }
        self.process(now, out);
    }

    fn wake(&mut self, now: Timestamp, out: &mut Outputs) {
        self.handle_timeout(now, out);
    }

    fn tracks(&self, key: &[u8]) -> Option<StreamId> {
        self.nodes.get(self.map.as_ref()?.owner(slot::slot(key))?)?.tracks()
    }

    /// As with any command, an old map is asked for anew: commands come without it only if this is false.
    fn serves(&mut self, key: &[u8], stream: StreamId, now: Timestamp) -> Served {
        if self.is_stale || now >= self.refreshed_at.after(MAX_AGE) {
            return Served::No;
        }
        let owner = self.map.as_ref().and_then(|map| map.owner(slot::slot(key)));
        let Some(node) = owner.and_then(|owner| self.nodes.get_mut(owner)) else { return Served::No };
        let served = node.serves(stream, now);
        if served == Served::First {
            node.ask_for(key);
        }
        served
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let question = self.refresh_at().filter(|_| self.refresh.is_none());
        let retry = self.retry_at.filter(|_| !self.parked.is_empty() && self.map.is_some());
        let refresh = self.refresh.as_ref().map(MapRefresh::deadline);
        let times = [self.nodes.next_wake(), self.parked.next_deadline(), question, retry, refresh];
        times.into_iter().flatten().min()
    }

    fn flush(&mut self, out: &mut Outputs) {
        self.nodes.iter_mut().for_each(|node| node.flush(out));
    }

    fn load(&self) -> Load {
        let parked = Load { commands: self.parked.len(), bytes: self.parked.bytes() };
        self.nodes.iter().map(Connection::load).fold(parked, Load::and)
    }
}
