//! The whole filter: an attacker and a browser send requests in any order, and the provider and Redis give any answer.
//!
//! ```text
//! 0                                     the configuration, by its number in `CONFIGURATIONS`
//! > GET /oauth2/start?rd=/x             a request; >> does not wait for its answer
//! cookie: {jar}; a=b                    its headers
//! ! wait 60                             60 seconds pass
//! ```
//!
//! In a request, `{jar}` stands for the cookies of the browser, `{session}` and `{old}` for the cookies of a user who signed
//! in elsewhere, just now and an hour ago, `{state}` for the state of the latest sign-in, and `{token}` for a bearer token.
//!
//! The invariants: no request gets through without a session, or as another user; identity headers of a client never
//! arrive; the browser is redirected only to allowed hosts; no answer or log line has secrets; every flow ends.

mod checks;
mod configurations;
mod known;
mod log;

use std::rc::Rc;
use std::time::Duration;

use oauth2_session_filter::config::Config;
use oauth2_session_filter::flow::{App, Decision, Io, Ready};
use oauth2_session_filter::session::ticket::{Ticket, TicketForm};
use oauth2_session_filter::session::{Session, SessionInfo};
use oauth2_session_filter::time::Timestamp;
use oauth2_session_filter::{cookie, session};

use self::configurations::{CONFIGURATIONS, Rules, configuration};
use self::known::{Known, KnownUser, secret};
use super::site::{Pending, World, id_token};

const START: Timestamp = Timestamp::from_secs(1_700_000_000);
const NAME: &[u8] = b"_oauth2_proxy";
const HOST: &str = "app.example.com";
const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// More of them find nothing new.
const MAX_REQUESTS: usize = 40;

const COOKIE_SECRET: &str = "secret-cookie-0123456789abcdefgh";
/// Secrets that no answer and no log line may have.
const SECRETS: [&str; 5] =
    [COOKIE_SECRET, "secret-client", "secret-redis", "secret-access-", "secret-refresh-"];

/// The bytes are lines as in the example above.
pub(super) fn run(bytes: &[u8]) {
    log::watch();
    if has_secret(bytes) {
        return;
    }
    let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
    let number = lines.next().and_then(|line| line.first()).copied().unwrap_or_default();
    let mut site = Site::new(usize::from(number) % CONFIGURATIONS.len());
    while let Some(line) = lines.next() {
        if let Some(order) = line.strip_prefix(b"! ") {
            site.order(order);
        } else if let Some(request) = line.strip_prefix(b">") {
            let mut headers = Vec::new();
            while let Some(header) = lines.next_if(|line| !line.starts_with(b">") && !line.starts_with(b"! "))
            {
                headers.push(header);
            }
            if site.requests == MAX_REQUESTS {
                break;
            }
            site.request(request, &headers);
        }
    }
    site.end();
}

/// Whether one of [`SECRETS`] is in there.
fn has_secret(bytes: &[u8]) -> bool {
    SECRETS.iter().any(|secret| contains(bytes, secret.as_bytes()))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

/// A request, and when it was sent.
struct Request {
    head: Vec<(Vec<u8>, Vec<u8>)>,
    began: Timestamp,
    /// Its number among all requests.
    number: usize,
}

/// One worker, with its clients, the provider and Redis.
struct Site {
    rules: &'static Rules,
    config: Config,
    world: World,
    app: Rc<App<World>>,
    jar: Vec<(Vec<u8>, Vec<u8>)>,
    known: Vec<Known>,
    tokens: Vec<String>,
    state: String,
    /// The cookies of logins that began.
    logins: Vec<Vec<u8>>,
    waiting: Vec<(Request, Pending<Decision>)>,
    /// How many requests there were.
    requests: usize,
    hands_over: Option<Vec<u8>>,
}

impl Site {
    fn new(number: usize) -> Self {
        let config = configuration(number);
        let world = World::new(&config, START);
        let app = App::new(config.clone(), world.clone());
        Self {
            rules: &CONFIGURATIONS[number],
            config,
            world,
            app,
            jar: Vec::new(),
            known: Vec::new(),
            tokens: Vec::new(),
            state: String::new(),
            logins: Vec::new(),
            waiting: Vec::new(),
            requests: 0,
            hands_over: None,
        }
    }

    fn order(&mut self, order: &[u8]) {
        let order = String::from_utf8_lossy(order).into_owned();
        let (name, rest) = order.split_once(' ').unwrap_or((&order, ""));
        let number = rest.parse::<u64>().unwrap_or(0);
        match name {
            "wait" => self.world.pass(Duration::from_secs(number.min(7200))),
            "ms" => self.world.pass(Duration::from_millis(number.min(10_000))),
            "drop" if !self.waiting.is_empty() => {
                let (_, pending) = self.waiting.remove(0);
                self.world.drop_flow(&pending);
            }
            "finish" => self.finish(),
            "provider" => self.world.provider(|provider| match rest {
                "down" => provider.is_down = true,
                "up" => provider.is_down = false,
                delay => provider.delay = Duration::from_secs(delay.parse::<u64>().unwrap_or(0).min(100)),
            }),
            "answer" => {
                let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let (status, body) = rest.split_once(' ').unwrap_or((rest, ""));
                self.world.provider(|provider| match status.parse() {
                    Ok(status) => {
                        provider.answers.insert(path.to_owned(), (status, body.as_bytes().to_vec()))
                    }
                    Err(_) => provider.answers.remove(path),
                });
            }
            "redis" => {
                let now = self.world.now();
                self.world.with_redis(|redis| match rest.split_once(' ') {
                    None if rest == "down" => redis.is_down = true,
                    None if rest == "up" => redis.is_down = false,
                    None if rest == "break" => redis.disconnect(now),
                    Some(("delay", millis)) => {
                        redis.delay = Duration::from_millis(millis.parse::<u64>().unwrap_or(0).min(10_000));
                    }
                    Some(("says", text)) => {
                        redis.has_lied = true;
                        redis.says.push_back(text.replace('~', "\r\n").into_bytes());
                    }
                    _ => {}
                });
            }
            "hand" => self.hands_over = Some(rest.as_bytes().to_vec()),
            _ => {}
        }
    }

    fn request(&mut self, line: &[u8], headers: &[&[u8]]) {
        let (waits, line) = line.strip_prefix(b">").map_or((true, line), |line| (false, line));
        let mut words = line.splitn(3, |byte| *byte == b' ').skip(1);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut head = vec![
            (b":method".to_vec(), method.to_vec()),
            (b":path".to_vec(), self.fill_in(target)),
            (b":scheme".to_vec(), b"https".to_vec()),
        ];
        for header in headers {
            let Some(colon) = header.iter().skip(1).position(|byte| *byte == b':') else { continue };
            let (name, value) = header.split_at(colon + 1);
            let value = value[1..].trim_ascii();
            // As Envoy keeps them.
            head.push((name.to_ascii_lowercase(), self.fill_in(value)));
        }
        if !head.iter().any(|(name, _)| name == b":authority") {
            head.push((b":authority".to_vec(), HOST.as_bytes().to_vec()));
        }
        self.requests += 1;
        let asked = Request { head, began: self.world.now(), number: self.requests };
        match self.app.handle(asked.block().into()) {
            Ready::Now(decision) => self.decided(&asked, decision),
            Ready::Later(flow) => {
                let pending = self.world.start(flow);
                self.waiting.push((asked, pending));
                if waits {
                    self.finish();
                }
            }
        }
    }

    /// Waits for every request.
    fn finish(&mut self) {
        for (asked, pending) in std::mem::take(&mut self.waiting) {
            let decision = self.world.finish(&pending);
            self.decided(&asked, decision);
        }
    }

    fn end(mut self) {
        self.finish();
        self.world.drain();
    }

    /// Replaces the placeholders.
    fn fill_in(&mut self, text: &[u8]) -> Vec<u8> {
        let mut filled = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| *byte == b'{') {
            let (before, from) = rest.split_at(at);
            filled.extend_from_slice(before);
            let known = ["{jar}", "{session}", "{old}", "{state}", "{token}"];
            match known.into_iter().find(|name| from.starts_with(name.as_bytes())) {
                Some(name) => {
                    filled.extend(self.secret(name));
                    rest = &from[name.len()..];
                }
                None => {
                    filled.push(b'{');
                    rest = &from[1..];
                }
            }
        }
        filled.extend_from_slice(rest);
        filled
    }

    fn secret(&mut self, name: &str) -> Vec<u8> {
        match name {
            "{jar}" => {
                let pairs = self.jar.iter().map(|(name, value)| [name.as_slice(), b"=", value].concat());
                pairs.collect::<Vec<_>>().join(b"; ".as_slice())
            }
            "{session}" => self.session("alice", Duration::ZERO),
            "{old}" => self.session("bob", HOUR),
            "{state}" => {
                url::form_urlencoded::byte_serialize(self.state.as_bytes()).collect::<String>().into()
            }
            _ => {
                let token = id_token("alice", "", START);
                self.tokens.push(token.clone());
                token.into_bytes()
            }
        }
    }

    /// The cookie of a user who signed in this long before the start.
    fn session(&mut self, user: &str, age: Duration) -> Vec<u8> {
        let signed_at = START.secs() - i64::try_from(age.as_secs()).unwrap();
        let session = Session {
            info: SessionInfo {
                created_at: Some(Timestamp::from_secs(signed_at)),
                expires_on: Some(Timestamp::from_secs(signed_at).after(HOUR)),
                email: format!("{user}@example.com").into_bytes(),
                user: user.as_bytes().to_vec(),
                ..Default::default()
            },
            access_token: b"secret-access-0".to_vec(),
            refresh_token: self.world.provider(|provider| provider.refresh_token(user)).into_bytes(),
            id_token: id_token(user, "", START).into_bytes(),
            ..Session::default()
        };
        let secret = secret();
        let value = if self.config.redis.is_some() {
            let ticket = Ticket::new(NAME, [user.as_bytes()[0]; 16], [7; 16]);
            self.world.with_redis(|redis| redis.put(ticket.redis_key(), &ticket.seal(&session, [1; 12])));
            ticket.encode(TicketForm::Documented)
        } else {
            session::seal_cookie(&session, secret.aes_key(), [1; 16], false)
        };
        let value = cookie::sign(&secret, NAME, &value, signed_at);
        let known = Known::new(vec![value.clone()], Some(KnownUser::named(user)));
        // The session is there once more, also for its other cookies.
        self.known.iter_mut().filter(|other| other.key == known.key).for_each(Known::revive);
        self.know(known);
        [NAME, b"=", &value].concat()
    }

    fn know(&mut self, mut known: Known) {
        known.is_of(&self.known);
        self.known.retain(|other| other.value != known.value);
        self.known.push(known);
    }
}
