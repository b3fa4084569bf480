//! Long cookies: cut into chunks, and joined again from what a browser sends in any order.

use oauth2_session_filter::cookie::{self, Attributes, Jar, MaxAge, SessionCookies};

use super::sealed::{NAME, NOW, WEEK, secret, unlimited};

/// The host, a line feed, and what the cookie holds.
pub(super) fn run(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (host, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let secret = secret();
    // A few bytes of the fuzzer are to be many of a cookie.
    let value = value.repeat(3000_usize.checked_div(value.len()).unwrap_or(0).clamp(1, 90));
    let signed = cookie::sign(&secret, NAME, &value, NOW.secs());
    let attributes = Attributes {
        path: "/".to_owned(),
        domains: vec!["example.com".to_owned(), ".sub.example.com".to_owned()],
        http_only: true,
        secure: true,
        same_site: None,
    };
    let cookies = cookie::split(NAME, &signed, &attributes, MaxAge::from(WEEK), host);
    assert!(cookies.iter().all(|cookie| cookie.header.len() <= 4000), "a browser takes 4096 bytes");
    let pair = |header: &[u8]| header.split(|byte| *byte == b';').next().unwrap().to_vec();
    let headers: Vec<Vec<u8>> = cookies.iter().rev().map(|cookie| pair(&cookie.header)).collect();
    let jar = Jar::new(headers.iter().map(Vec::as_slice));
    let sent = SessionCookies::find(&jar, NAME);
    let values = SessionCookies::find(&jar, NAME).into_values();
    assert_eq!(values.len(), 1);
    let verified = cookie::verify(&secret.clone().into(), NAME, &values[0], NOW, WEEK, &mut unlimited())
        .expect("it was signed");
    assert_eq!(verified.value(), value);
    let is_ours = |value: &[u8]| cookie::is_signed(&secret.clone().into(), NAME, value, &mut unlimited());
    assert_eq!(sent.names(is_ours).len(), cookies.len());
    assert!(sent.is_alone() && sent.are_all(is_ours));
    // The same a second time is another set of the same value.
    let twice: Vec<&[u8]> = headers.iter().chain(&headers).map(Vec::as_slice).collect();
    let jar = Jar::new(twice);
    let values = SessionCookies::find(&jar, NAME).into_values();
    assert!(values.len() == 2 && values.iter().all(|value| *value == signed));
}
