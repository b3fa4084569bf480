//! Many sessions in turn: each is read once, and then served from memory.

use std::rc::Rc;

use serde_json::{Value, json};

use super::site;
use crate::flow::io::Io;
use crate::flow::principal::WholeSession;
use crate::flow::tests::Site;
use crate::flow::tests::browser::Browser;
use crate::flow::{Ready, RequestHead};
use crate::session::{Session, SessionInfo};

/// A session with four headers and tokens of these sizes.
fn session(site: &Site, number: u32, tokens: [usize; 3]) -> Rc<WholeSession> {
    let info = SessionInfo {
        created_at: Some(site.world.now()),
        email: format!("person-{number}@example.com").into_bytes(),
        user: format!("person-{number}").into_bytes(),
        groups: vec![b"admins".to_vec(), b"staff".to_vec()],
        preferred_username: format!("Person {number}").into_bytes(),
        ..SessionInfo::default()
    };
    let token = |bytes: usize| {
        let mut token = vec![0; bytes];
        getrandom::fill(&mut token).unwrap();
        token
    };
    let [access_token, id_token, refresh_token] = tokens.map(token);
    let whole = Session { info, access_token, id_token, refresh_token, ..Session::default() };
    WholeSession::signed_in(&site.config, whole)
}

/// Requests of so many users who have signed in.
fn requests(site: &Site, count: u32, tokens: [usize; 3]) -> Vec<RequestHead> {
    let browser = site.browser();
    let whole: Vec<_> = (0..count).map(|number| session(site, number, tokens)).collect();
    let app = Rc::clone(&site.app);
    let create = async move {
        let mut cookies = Vec::new();
        for session in whole {
            cookies.push(app.store.create(&session, &browser.head("/", &[])).await.unwrap());
        }
        cookies
    };
    let cookies = site.world.run(vec![Box::pin(create)]).remove(0);
    let head = |cookie: Vec<u8>| {
        let mut browser: Browser = site.browser();
        browser.cookies.insert(super::COOKIE.to_owned(), String::from_utf8(cookie).unwrap());
        browser.head("/", &[])
    };
    cookies.into_iter().map(head).collect()
}

/// So many sessions are each used twice, in turn. Returns what the second round asks Redis.
fn second_round(options: Value, count: u32, tokens: [usize; 3]) -> Vec<String> {
    let site = site(options);
    site.world.track(Some(1));
    let heads = requests(&site, count, tokens);
    for head in &heads {
        if let Ready::Later(page) = site.app.handle(head.clone()) {
            site.world.run(vec![page]);
        }
        site.world.drain();
    }
    // What was written in the first round was read once more.
    for head in &heads {
        if let Ready::Later(page) = site.app.handle(head.clone()) {
            site.world.run(vec![page]);
        }
    }
    site.world.drain();
    site.world.fake_redis().seen();
    let from_memory = heads.into_iter().filter(|head| matches!(site.app.handle(head.clone()), Ready::Now(_)));
    assert_eq!(u32::try_from(from_memory.count()).unwrap(), count);
    site.world.drain();
    site.world.fake_redis().seen()
}

/// The memory of the module has room for 30,000 sessions: its pointers are half as large as those of a native build.
#[test]
fn sessions_that_fit_into_the_default_memory_are_served_from_it() {
    let tenth = json!({ "session_cache_bytes": (32 << 20) / 10 });
    assert_eq!(second_round(tenth, 2_700, [240, 540, 80]), Vec::<String>::new());
}

#[test]
fn uses_and_entries_of_all_sessions_in_memory_are_written_once() {
    let options = json!({
        "session_cache_bytes": 64 << 20,
        "session_idle_timeout": "20h",
        "redis_session_index": true,
    });
    assert_eq!(second_round(options, 34_000, [0; 3]), Vec::<String>::new());
}
