//! Commands: encoded once, as an array of bulks.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::config::Credentials;
use super::output::StreamId;
use super::reply::Reply;

/// Renews the lease of the lock, if we still hold it.
const RENEW: &[u8] = b"if redis.call('GET', KEYS[1]) == ARGV[1] then \
    return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end";

/// Releases the lock, if we still hold it.
const RELEASE: &[u8] = b"if redis.call('GET', KEYS[1]) == ARGV[1] then \
    return redis.call('DEL', KEYS[1]) else return 0 end";

/// Adds a session to a hash whose entries have `<when it began> <when it ends>`. A session keeps its beginning, and never
/// ends earlier than before. Drops the entries that have ended and, if there are too many, the one that ends first. The
/// hash lives as long as its last entry.
///
/// ```text
/// ARGV  1 now   2 the name of the entry   3 its beginning   4 its end   5 the most entries
/// ```
const ADD_TO_HASH: &[u8] = b"local key, now, name, began, ends, most = \
    KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]) \
    local all, others, first, least, last = redis.call('HGETALL', key), 0, nil, math.huge, 0 \
    for i = 1, #all, 2 do \
      local other, stop = string.match(all[i + 1], '^(%d+) (%d+)$') \
      local at = tonumber(stop or 0) \
      if all[i] == name then \
        began = other or began \
        if at > tonumber(ends) then ends = stop end \
      elseif at < now then redis.call('HDEL', key, all[i]) \
      else \
        others = others + 1 \
        last = math.max(last, at) \
        if at < least then first, least = all[i], at end \
      end \
    end \
    if others >= most then redis.call('HDEL', key, first) end \
    redis.call('HSET', key, name, began .. ' ' .. ends) \
    last = math.max(last, tonumber(ends)) \
    return redis.call('PEXPIRE', key, string.format('%.0f', (last - now + 1) * 1000))";

/// Replies with the key.
const NAME: &[u8] = b"return KEYS[1]";

const GET: &str = "get";
const SETEX: &str = "setex";
const SET: &str = "set";
const REPLACE: &str = "replace";
const DEL: &str = "del";
const EXPIRE: &str = "expire";
const LOCK: &str = "lock";
const RENEW_LOCK: &str = "renew_lock";
const RELEASE_LOCK: &str = "release_lock";
const PING: &str = "ping";
const AUTH: &str = "auth";
const ECHO: &str = "echo";
pub(super) const HELLO: &str = "hello";
const ADD_TO_INDEX: &str = "add_to_index";
const READ_INDEX: &str = "read_index";
const DROP_FROM_INDEX: &str = "drop_from_index";
const TIME_TO_LIVE: &str = "time_to_live";

/// The most sessions of one user in the index. Reading all of them is one reply of some kilobytes.
const MAX_ENTRIES: &[u8] = b"256";

/// One command with its arguments. Only its name is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    name: &'static str,
    bytes: Vec<u8>,
    key: Option<Range<usize>>,
    is_idempotent: bool,
    check: Option<Check>,
    tracked_by: Option<TrackedBy>,
}

/// Where the client says by which stream a reply came, if the server tells that stream of changes of the key.
pub(super) type TrackedBy = Rc<Cell<Option<StreamId>>>;

/// Whether a value can belong to the command's key.
#[derive(Clone)]
struct Check(Rc<IsValue>);

type IsValue = dyn Fn(&[u8]) -> bool;

/// The check is no part of what the server receives.
impl PartialEq for Check {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Check {}

impl Command {
    /// The value under a key: bulk or nil.
    pub fn get(key: &[u8]) -> Self {
        Self::keyed(GET, 1, &[b"GET", key])
    }

    /// Stores a value under a key for `ttl`; forever if `ttl` is zero. Replies `OK`.
    ///
    /// `SETEX` counts seconds. A `ttl` with a fraction of a second is sent in milliseconds.
    pub fn setex(key: &[u8], ttl: Duration, value: &[u8]) -> Self {
        if ttl.is_zero() {
            return Self::keyed(SETEX, 1, &[b"SET", key, value]);
        }
        if ttl.subsec_nanos() == 0 {
            let secs = ttl.as_secs().to_string();
            return Self::keyed(SETEX, 1, &[b"SETEX", key, secs.as_bytes(), value]);
        }
        Self::keyed(SETEX, 1, &[b"PSETEX", key, &millis(ttl), value])
    }

    /// As [`setex`](Self::setex), if the key exists: `OK`, otherwise nil.
    pub fn replace(key: &[u8], ttl: Duration, value: &[u8]) -> Self {
        Self::set_if(REPLACE, b"XX", key, ttl, value)
    }

    /// As [`setex`](Self::setex), if the key does not exist: `OK`, otherwise nil.
    pub fn restore(key: &[u8], ttl: Duration, value: &[u8]) -> Self {
        Self::set_if(SET, b"NX", key, ttl, value)
    }

    fn set_if(name: &'static str, condition: &[u8], key: &[u8], ttl: Duration, value: &[u8]) -> Self {
        if ttl.is_zero() {
            return Self::keyed(name, 1, &[b"SET", key, value, condition]);
        }
        Self::keyed(name, 1, &[b"SET", key, value, condition, b"PX", &millis(ttl)])
    }

    /// Stores a value under a key that exists, and leaves its time to live as it is: `OK`, otherwise nil.
    pub fn replace_value(key: &[u8], value: &[u8]) -> Self {
        Self::keyed(REPLACE, 1, &[b"SET", key, value, b"XX", b"KEEPTTL"])
    }

    /// Lets a key live for `ttl` from now: 1, or 0 if it does not exist.
    pub fn expire(key: &[u8], ttl: Duration) -> Self {
        Self::keyed(EXPIRE, 1, &[b"PEXPIRE", key, &millis(ttl)])
    }

    /// Deletes a key. Replies how many keys existed; also 0 if the reply to a first `DEL` was lost.
    pub fn del(key: &[u8]) -> Self {
        Self::keyed(DEL, 1, &[b"DEL", key])
    }

    /// Takes a lock for `lease`: `OK`, or nil if it is held already. `token` identifies the new holder.
    ///
    /// It is never sent twice: the second reply would be nil although the first command took the lock. After
    /// [`Failure::Lost`](super::Failure::Lost) or [`Failure::Timeout`](super::Failure::Timeout) we may hold the lock.
    /// [`Command::release_lock`] finds that out; otherwise the lock ends with its lease.
    pub fn lock(key: &[u8], token: &[u8], lease: Duration) -> Self {
        let lock = Self::keyed(LOCK, 1, &[b"SET", key, token, b"NX", b"PX", &millis(lease)]);
        Self { is_idempotent: false, ..lock }
    }

    /// Holds a lock for `lease` from now: 1, or 0 if `token` does not hold it.
    pub fn renew_lock(key: &[u8], token: &[u8], lease: Duration) -> Self {
        Self::keyed(RENEW_LOCK, 3, &[b"EVAL", RENEW, b"1", key, token, &millis(lease)])
    }

    /// Releases a lock: 1, or 0 if `token` does not hold it (any longer).
    pub fn release_lock(key: &[u8], token: &[u8]) -> Self {
        Self::keyed(RELEASE_LOCK, 3, &[b"EVAL", RELEASE, b"1", key, token])
    }

    /// Asks the server of a key for the key itself. No other command has this reply. So if it arrives, the command
    /// that is written next gets its own reply too. It is a script, because proxies for Redis do not know `ECHO`.
    pub fn echo(key: &[u8]) -> Self {
        Self::keyed(ECHO, 3, &[b"EVAL", NAME, b"1", key])
    }

    /// Adds a session to a user's entries in the index: 1. The times are Unix seconds.
    pub fn add_to_index(key: &[u8], id: &[u8], now: i64, began: i64, ends: i64) -> Self {
        let [now, began, ends] = [now, began, ends].map(|secs| secs.max(0).to_string().into_bytes());
        let arguments = [b"EVAL", ADD_TO_HASH, b"1", key, &now, id, &began, &ends, MAX_ENTRIES];
        Self::keyed(ADD_TO_INDEX, 3, &arguments)
    }

    /// All entries of a user in the index: an array of names and values.
    pub fn read_index(key: &[u8]) -> Self {
        Self::keyed(READ_INDEX, 1, &[b"HGETALL", key])
    }

    /// Drops entries of a user from the index. Replies how many there were.
    pub fn drop_from_index(key: &[u8], ids: &[&[u8]]) -> Self {
        let arguments: Vec<&[u8]> =
            [b"HDEL".as_slice(), key].into_iter().chain(ids.iter().copied()).collect();
        Self::keyed(DROP_FROM_INDEX, 1, &arguments)
    }

    /// The milliseconds that a key has to live; -1 if it has no expiry, -2 if it does not exist.
    pub fn time_to_live(key: &[u8]) -> Self {
        Self::keyed(TIME_TO_LIVE, 1, &[b"PTTL", key])
    }

    /// Checks that the server is there: `PONG`.
    pub fn ping() -> Self {
        Self::new(PING, &[b"PING"])
    }

    /// Authenticates the connection.
    pub(super) fn auth(credentials: &Credentials) -> Self {
        let password = credentials.password.as_bytes();
        match &credentials.username {
            Some(username) => Self::new(AUTH, &[b"AUTH", username.as_bytes(), password]),
            None => Self::new(AUTH, &[b"AUTH", password]),
        }
    }

    /// Whether this is [`auth`](Self::auth).
    pub(super) fn is_auth(&self) -> bool {
        self.name == AUTH
    }

    /// A command without a key that may be sent twice.
    pub(super) fn new(name: &'static str, arguments: &[&[u8]]) -> Self {
        Self::encode(name, None, arguments)
    }

    /// A command that may be sent twice, with the position of its key among the arguments.
    fn keyed(name: &'static str, position: usize, arguments: &[&[u8]]) -> Self {
        Self::encode(name, Some(position), arguments)
    }

    fn encode(name: &'static str, position: Option<usize>, arguments: &[&[u8]]) -> Self {
        // A length, its type and two line ends have at most 25 bytes, and usually 6.
        let capacity = arguments.iter().map(|argument| argument.len().saturating_add(8)).sum();
        let mut bytes = Vec::with_capacity(capacity);
        let mut key = None;
        bytes.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
        for (index, argument) in arguments.iter().enumerate() {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            let start = bytes.len();
            bytes.extend_from_slice(argument);
            if position == Some(index) {
                key = Some(start..bytes.len());
            }
            bytes.extend_from_slice(b"\r\n");
        }
        Self { name, bytes, key, is_idempotent: true, check: None, tracked_by: None }
    }

    /// The same command. A value for which `check` is false counts as the reply to another command.
    #[must_use]
    pub fn checked(self, check: impl Fn(&[u8]) -> bool + 'static) -> Self {
        Self { check: Some(Check(Rc::new(check))), ..self }
    }

    /// The same command, and where to find by which stream its reply came.
    #[must_use]
    pub fn tracked(self) -> (Self, TrackedBy) {
        let tracked_by = TrackedBy::default();
        (Self { tracked_by: Some(Rc::clone(&tracked_by)), ..self }, tracked_by)
    }

    /// Its reply comes by this stream, if the server tells that of changes.
    pub(crate) fn comes_by(&self, stream: Option<StreamId>) {
        if let Some(tracked_by) = &self.tracked_by {
            tracked_by.set(stream);
        }
    }

    /// Whether this can be the reply to this command. Replies have no numbers. So after lost bytes, each reply would
    /// be taken for that to an earlier command.
    pub(crate) fn fits(&self, reply: &Reply) -> bool {
        match (self.name, reply) {
            (_, Reply::Error(_)) => true,
            (GET, Reply::Bulk(value)) => self.check.as_ref().is_none_or(|check| check.0(value)),
            (GET, reply) => matches!(reply, Reply::Nil | Reply::TooLarge),
            (ECHO, Reply::Bulk(value)) => self.key() == Some(value),
            // A server without scripts says so in its own way.
            (ECHO, reply) => !matches!(reply, Reply::Nil),
            (PING | AUTH | SETEX, reply) => matches!(reply, Reply::Status(_)),
            (SET | REPLACE | LOCK, reply) => matches!(reply, Reply::Status(_) | Reply::Nil),
            (READ_INDEX | HELLO, reply) => matches!(reply, Reply::Array(_)),
            (
                DEL | EXPIRE | RENEW_LOCK | RELEASE_LOCK | ADD_TO_INDEX | DROP_FROM_INDEX | TIME_TO_LIVE,
                reply,
            ) => {
                matches!(reply, Reply::Integer(_))
            }
            _ => true,
        }
    }

    /// Its purpose, as a label of logs and metrics: `get`, `setex`, `lock`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its name in Redis: `GET`, `SETEX`, `SET`.
    pub fn verb(&self) -> &str {
        // *count CRLF $length CRLF verb CRLF
        let verb = self.bytes.split(|byte| *byte == b'\r').nth(2).and_then(|verb| verb.strip_prefix(b"\n"));
        verb.and_then(|verb| std::str::from_utf8(verb).ok()).unwrap_or_default()
    }

    /// Its key. In a Cluster, the key decides which node gets the command.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.clone().and_then(|key| self.bytes.get(key))
    }

    /// Whether it may be sent again if the connection broke after it was written: two runs leave the same data in
    /// Redis as one.
    pub const fn is_idempotent(&self) -> bool {
        self.is_idempotent
    }

    /// Whether a nil means that the key does not exist.
    pub(crate) fn is_lookup(&self) -> bool {
        matches!(self.name, GET | REPLACE)
    }

    /// Name and arguments, for the fake servers of tests.
    #[cfg(test)]
    pub(crate) fn arguments(&self) -> Vec<Vec<u8>> {
        let mut rest = self.bytes.as_slice();
        let mut next = |kind: u8| {
            let end = rest.iter().position(|byte| *byte == b'\r').unwrap();
            assert_eq!(rest[0], kind);
            let number: usize = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
            rest = &rest[end + 2..];
            let mut argument = Vec::new();
            if kind == b'$' {
                argument = rest[..number].to_vec();
                rest = &rest[number + 2..];
            }
            (number, argument)
        };
        let (count, _) = next(b'*');
        (0..count).map(|_| next(b'$').1).collect()
    }

    /// The bytes of the command on the wire.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn millis(duration: Duration) -> Vec<u8> {
    // Redis rejects zero.
    duration.as_millis().max(1).to_string().into_bytes()
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.name)
    }
}
