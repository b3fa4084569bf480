//! A Redis of a few lines: strings with a time to live, the scripts of the lock and of the index, and faults. A hash is a
//! string with a line for each entry.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use crate::redis::{CATCH_UP, Command, Failure, Reply, ServerError};
use crate::time::Timestamp;

pub(super) type Values = HashMap<Vec<u8>, (Vec<u8>, Option<Timestamp>)>;

#[derive(Default)]
pub(super) struct FakeRedis {
    values: RefCell<Values>,
    seen: RefCell<Vec<String>>,
    is_down: Cell<bool>,
    /// Commands of this name break the connection; with `true`, after Redis ran them.
    loses: RefCell<Option<(String, bool)>>,
    /// Commands of this name run twice, because the first reply is lost.
    repeats: RefCell<Option<String>>,
    /// The verb of commands that fail, and their error.
    refuses: RefCell<Option<(&'static str, &'static str)>>,
    delay: Cell<Duration>,
    doubted_until: Cell<Option<Timestamp>>,
    /// Every command gets the reply to the command before it. This is the next reply.
    shifted: RefCell<Option<Reply>>,
    /// The key that the last command changed.
    changed: RefCell<Option<Vec<u8>>>,
    /// How many connections the client closed because of that.
    closed: Cell<usize>,
}

impl FakeRedis {
    pub(super) fn set_down(&self, is_down: bool) {
        self.is_down.set(is_down);
    }

    /// From now on, commands of this name break the connection; if `is_done`, after Redis ran them.
    pub(super) fn lose(&self, name: &str, is_done: bool) {
        *self.loses.borrow_mut() = Some((name.to_owned(), is_done));
    }

    /// From now on, commands of this name run twice: the connection breaks after the first run, and the client repeats
    /// them.
    pub(super) fn repeat(&self, name: &str) {
        *self.repeats.borrow_mut() = Some(name.to_owned());
    }

    pub(super) fn lose_nothing(&self) {
        *self.loses.borrow_mut() = None;
    }

    /// From now on, commands with this verb have this error as their reply.
    pub(super) fn refuse(&self, verb: &'static str, error: &'static str) {
        *self.refuses.borrow_mut() = Some((verb, error));
    }

    pub(super) fn refuse_nothing(&self) {
        *self.refuses.borrow_mut() = None;
    }

    pub(super) fn set_delay(&self, delay: Duration) {
        self.delay.set(delay);
    }

    pub(super) fn delay(&self) -> Duration {
        self.delay.get()
    }

    /// The names of the commands since the last call, oldest first.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.take()
    }

    pub(super) fn snapshot(&self) -> Values {
        self.values.borrow().clone()
    }

    /// Sets all values back: a replica took over that lacks the last writes.
    pub(super) fn restore(&self, values: Values) {
        *self.values.borrow_mut() = values;
    }

    /// It has just taken over: for a moment the client does not trust it that a key is missing.
    pub(super) fn doubt(&self, now: Timestamp) {
        self.doubted_until.set(Some(now.after(CATCH_UP)));
    }

    /// From now on, each command gets the reply to the command before it, and the first one gets this reply. It ends
    /// when the client closes the connection.
    pub(super) fn shift(&self, reply: Reply) {
        *self.shifted.borrow_mut() = Some(reply);
    }

    /// How many connections the client closed since the last call, because a reply did not fit the command.
    pub(super) fn closed(&self) -> usize {
        self.closed.take()
    }

    pub(super) fn put(&self, key: &[u8], value: &[u8]) {
        self.values.borrow_mut().insert(key.to_vec(), (value.to_vec(), None));
    }

    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> =
            self.values.borrow().keys().map(|key| String::from_utf8(key.clone()).unwrap()).collect();
        keys.sort();
        keys
    }

    /// How long a key will live; `None` if it has no expiry.
    pub(super) fn ttl(&self, key: &str, now: Timestamp) -> Option<Duration> {
        self.values.borrow()[key.as_bytes()].1.map(|until| until.since(now))
    }

    /// The key that the last command changed, if it did.
    pub(super) fn changed(&self) -> Option<Vec<u8>> {
        self.changed.take()
    }

    pub(super) fn run(&self, command: &Command, now: Timestamp) -> Result<Reply, Failure> {
        let is_write = !matches!(command.verb(), "GET" | "PTTL" | "PING" | "HGETALL");
        *self.changed.borrow_mut() = command.key().filter(|_| is_write).map(<[u8]>::to_vec);
        self.seen.borrow_mut().push(command.name().to_owned());
        if self.is_down.get() {
            return Err(Failure::Unreachable);
        }
        if self.repeats.borrow().as_deref() == Some(command.name()) {
            self.reply(command, now);
        }
        match &*self.loses.borrow() {
            Some((name, is_done)) if name == command.name() => {
                if *is_done {
                    self.reply(command, now);
                }
                Err(Failure::Lost)
            }
            _ => match self.fitting(command, now) {
                Reply::Nil
                    if command.is_lookup() && self.doubted_until.get().is_some_and(|until| now < until) =>
                {
                    Err(Failure::PossiblyStale)
                }
                reply => Ok(reply),
            },
        }
    }

    /// The reply that the client accepts. If one does not fit the command, it closes the connection and asks again.
    fn fitting(&self, command: &Command, now: Timestamp) -> Reply {
        let mut reply = self.reply(command, now);
        if let Some(before) = &mut *self.shifted.borrow_mut() {
            std::mem::swap(before, &mut reply);
        }
        if command.fits(&reply) {
            return reply;
        }
        self.closed.set(self.closed.get() + 1);
        *self.shifted.borrow_mut() = None;
        let reply = self.reply(command, now);
        assert!(command.fits(&reply), "it fits over another connection");
        reply
    }

    fn reply(&self, command: &Command, now: Timestamp) -> Reply {
        if let Some((verb, error)) = *self.refuses.borrow()
            && verb == command.verb()
        {
            return Reply::Error(ServerError::new(error.as_bytes()));
        }
        let arguments = command.arguments();
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let mut values = self.values.borrow_mut();
        let is_alive = |until: &Option<Timestamp>| until.is_none_or(|until| until > now);
        if values.len() < 1000 {
            values.retain(|_, (_, until)| is_alive(until));
        } else if let Some(key) = command.key()
            && values.get(key).is_some_and(|(_, until)| !is_alive(until))
        {
            // To look at all of them takes too long.
            values.remove(key);
        }
        let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse::<u64>().unwrap();
        let millis = |text: &[u8]| Some(now.after(Duration::from_millis(number(text))));
        let ok = Reply::Status(b"OK".to_vec());
        match arguments.as_slice() {
            [b"PING"] => Reply::Status(b"PONG".to_vec()),
            [b"GET", key] => values.get(*key).map_or(Reply::Nil, |(value, _)| Reply::Bulk(value.clone())),
            [b"DEL", key] => Reply::Integer(i64::from(values.remove(*key).is_some())),
            [b"SET", key, value] => {
                values.insert(key.to_vec(), (value.to_vec(), None));
                ok
            }
            [b"SETEX", key, ttl, value] => {
                let until = now.after(Duration::from_secs(number(ttl)));
                values.insert(key.to_vec(), (value.to_vec(), Some(until)));
                ok
            }
            [b"PSETEX", key, ttl, value] => {
                values.insert(key.to_vec(), (value.to_vec(), millis(ttl)));
                ok
            }
            [b"SET", key, _, b"XX", ..] if !values.contains_key(*key) => Reply::Nil,
            [b"SET", key, value, b"XX", b"PX", ttl] => {
                values.insert(key.to_vec(), (value.to_vec(), millis(ttl)));
                ok
            }
            [b"SET", key, _, b"NX", b"PX", _] if values.contains_key(*key) => Reply::Nil,
            [b"SET", key, token, b"NX", b"PX", lease] => {
                values.insert(key.to_vec(), (token.to_vec(), millis(lease)));
                ok
            }
            [b"SET", key, value, b"XX", b"KEEPTTL"] => {
                let until = values[*key].1;
                values.insert(key.to_vec(), (value.to_vec(), until));
                ok
            }
            [b"PEXPIRE", key, ttl] => Reply::Integer(match values.get_mut(*key) {
                None => 0,
                Some((_, until)) => {
                    *until = millis(ttl);
                    1
                }
            }),
            [b"PTTL", key] => Reply::Integer(match values.get(*key) {
                None => -2,
                Some((_, None)) => -1,
                Some((_, Some(until))) => i64::try_from(until.since(now).as_millis()).unwrap(),
            }),
            [b"HGETALL", key] => Reply::Array(
                entries(&values, key)
                    .into_iter()
                    .flat_map(|(name, began, ends)| [name, format!("{began} {ends}")])
                    .map(|text| Reply::Bulk(text.into_bytes()))
                    .collect(),
            ),
            [b"HDEL", key, names @ ..] => {
                let all = entries(&values, key);
                let is_named = |name: &String| names.contains(&name.as_bytes());
                let left: Vec<_> = all.iter().filter(|(name, ..)| !is_named(name)).cloned().collect();
                let dropped = all.len() - left.len();
                set_entries(&mut values, key, &left);
                Reply::Integer(i64::try_from(dropped).unwrap())
            }
            [b"EVAL", _, b"1", key, _, name, began, ends, most] => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let (name, mut began, mut ends) = (text(name), number(began), number(ends));
                let mut all = entries(&values, key);
                if let Some(at) = all.iter().position(|(other, ..)| *other == name) {
                    let (_, old_began, old_ends) = all.remove(at);
                    (began, ends) = (old_began, ends.max(old_ends));
                }
                all.retain(|(.., ends)| *ends >= u64::try_from(now.secs()).unwrap());
                all.sort_by_key(|(.., ends)| *ends);
                if all.len() >= usize::try_from(number(most)).unwrap() {
                    all.remove(0);
                }
                all.push((name, began, ends));
                set_entries(&mut values, key, &all);
                Reply::Integer(1)
            }
            [b"EVAL", _, b"1", key] => Reply::Bulk(key.to_vec()),
            [b"EVAL", _, b"1", key, token, rest @ ..] => match (values.get_mut(*key), rest) {
                (Some((held, until)), [lease]) if held == token => {
                    *until = millis(lease);
                    Reply::Integer(1)
                }
                (Some((held, _)), []) if held == token => {
                    values.remove(*key);
                    Reply::Integer(1)
                }
                _ => Reply::Integer(0),
            },
            other => panic!("the fake Redis does not know {other:?}"),
        }
    }
}

/// The entries of a hash: each with its name, and two numbers.
fn entries(values: &Values, key: &[u8]) -> Vec<(String, u64, u64)> {
    let text = values.get(key).map(|(text, _)| String::from_utf8(text.clone()).unwrap()).unwrap_or_default();
    let entry = |line: &str| {
        let parts: Vec<&str> = line.split(' ').collect();
        (parts[0].to_owned(), parts[1].parse().unwrap(), parts[2].parse().unwrap())
    };
    text.lines().map(entry).collect()
}

/// Sets the entries of a hash. It lives until the last one ends.
fn set_entries(values: &mut Values, key: &[u8], entries: &[(String, u64, u64)]) {
    let Some(last) = entries.iter().map(|(.., ends)| *ends).max() else {
        values.remove(key);
        return;
    };
    let text: String = entries.iter().map(|(name, began, ends)| format!("{name} {began} {ends}\n")).collect();
    let until = Timestamp::from_secs(i64::try_from(last).unwrap() + 1);
    values.insert(key.to_vec(), (text.into_bytes(), Some(until)));
}
