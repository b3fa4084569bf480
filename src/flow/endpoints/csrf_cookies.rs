//! The cookies of a login under way: what `/oauth2/start` gives the browser and the callback asks for.
//!
//! oauth2-proxy keeps one cookie for all logins (`<name>_csrf`), so of two tabs the later wins, or one
//! for each (`cookie_csrf_per_request`: `<name>_<first 8 characters of the state's hash>_csrf`). We
//! always write the one for each; without the option also the other, which an oauth2-proxy that gets
//! the callback looks for.

use crate::cookie;
use crate::cookie::{Allowance, MaxAge, Verified};
use crate::flow::http::Header;
use crate::flow::io::Io;
use crate::flow::outcome::Unavailable;
use crate::flow::store::session_cookie::{MAX_CLEARED, set_cookie};
use crate::flow::{App, RequestHead};
use crate::session::csrf::Csrf;

/// So many logins a browser can have under way where `cookie_csrf_per_request_limit` does not say.
const DEFAULT_LIMIT: usize = 8;

/// So many cookies of one name are checked. A browser has more than one if paths or domains differ, or if another app
/// below the same domain has one of the same name.
const MAX_CHECKED: usize = 8;

/// The longest of them: three random numbers, encrypted and signed, are 400 bytes.
const MAX_LENGTH: usize = 1024;

/// The `Set-Cookie` headers of a login that begins.
pub(in crate::flow) fn begin<I: Io>(
    app: &App<I>,
    head: &RequestHead,
    login: &Csrf,
) -> Result<Vec<Header>, Unavailable> {
    let options = &app.config.cookie;
    let max_age = MaxAge::from(options.csrf_expire);
    let mut headers = clear_oldest(app, head);
    for name in names(app, &login.state_hash()) {
        if options.csrf_per_request && name == shared_name(app) {
            continue;
        }
        let sealed = login.seal(options.secret.aes_key(), app.io.random()?);
        let value = cookie::sign(&options.secret, name.as_bytes(), &sealed, app.io.now().secs());
        let attributes = &options.csrf_attributes;
        headers.push(set_cookie(attributes.set_cookie(name.as_bytes(), &value, max_age, head.host())));
    }
    Ok(headers)
}

/// The login whose state's hash came back with the callback.
pub(in crate::flow) fn find<I: Io>(app: &App<I>, head: &RequestHead, state_hash: &str) -> Option<Csrf> {
    names(app, state_hash).iter().find_map(|name| open(app, head, name, state_hash))
}

/// The `Set-Cookie` headers that end a login: of the cookies that are its own, and of no other's.
pub(in crate::flow) fn end<I: Io>(app: &App<I>, head: &RequestHead, state_hash: &str) -> Vec<Header> {
    names(app, state_hash)
        .iter()
        .filter(|name| open(app, head, name, state_hash).is_some())
        .map(|name| clear(app, head, name.as_bytes()))
        .collect()
}

/// The login in a cookie. A browser can send several of one name (other paths, other domains); the newest come first.
fn open<I: Io>(app: &App<I>, head: &RequestHead, name: &str, state_hash: &str) -> Option<Csrf> {
    let name = name.as_bytes();
    let candidates = cookie::newest_first(head.jar().all(name).collect(), |raw| *raw);
    let mut allowance = Allowance::new(MAX_CHECKED, MAX_LENGTH);
    let mut logins = candidates.into_iter().filter_map(|raw| {
        let verified = verify(app, name, raw, &mut allowance)?;
        Csrf::open(&verified, app.config.cookie.secret.aes_key()).ok()
    });
    logins.find(|login| login.matches_state(state_hash.as_bytes()))
}

fn verify<I: Io>(app: &App<I>, name: &[u8], raw: &[u8], allowance: &mut Allowance) -> Option<Verified> {
    let options = &app.config.cookie;
    cookie::verify(&options.secret, name, raw, app.io.now(), options.csrf_expire, allowance).ok()
}

/// Makes room for one more: a browser that begins logins and ends none would send ever more bytes.
fn clear_oldest<I: Io>(app: &App<I>, head: &RequestHead) -> Vec<Header> {
    let options = &app.config.cookie;
    let (jar, shared) = (head.jar(), shared_name(app));
    // One pass: whoever sends thousands of names must not have each of them looked for in all the others.
    let logins: Vec<(&[u8], &[u8])> = jar
        .pairs()
        .filter(|(name, _)| *name != shared.as_bytes() && cookie::is_csrf_name(options.name.as_bytes(), name))
        .collect();
    let keep = options.csrf_per_request_limit.unwrap_or(DEFAULT_LIMIT).max(1);
    let too_many = logins.len().saturating_add(1).saturating_sub(keep).min(MAX_CLEARED);
    if too_many == 0 {
        return Vec::new();
    }
    // What only says to be a login goes before those that are; none but the newest can be among those that stay.
    let logins = cookie::newest_first(logins, |(_, raw)| *raw);
    let mut allowance = Allowance::new(keep.saturating_add(MAX_CHECKED), MAX_LENGTH);
    let (logins, others): (Vec<_>, Vec<_>) =
        logins.into_iter().partition(|(name, raw)| verify(app, name, raw, &mut allowance).is_some());
    let oldest = others.iter().rev().chain(logins.iter().rev());
    oldest.take(too_many).map(|(name, _)| clear(app, head, name)).collect()
}

fn clear<I: Io>(app: &App<I>, head: &RequestHead, name: &[u8]) -> Header {
    set_cookie(app.config.cookie.csrf_attributes.clear(name, head.host()))
}

/// The names under which a login can be, the one of its own first.
fn names<I: Io>(app: &App<I>, state_hash: &str) -> [String; 2] {
    let name = &app.config.cookie.name;
    [cookie::csrf_cookie_name(name, Some(state_hash)), shared_name(app)]
}

fn shared_name<I: Io>(app: &App<I>) -> String {
    cookie::csrf_cookie_name(&app.config.cookie.name, None)
}
