//! The cookies that `strip_session_cookie` took out of a request, in case Envoy sends the request once more.
//!
//! With an `internal_redirect_policy`, Envoy follows a redirect of the upstream itself. The request goes through all filters
//! again, with the headers as the filters have left them, and what they would have added to the response is lost. So the
//! filter puts the cookies back, and decides as for any request with these cookies.
//!
//! ```text
//! request ──► its cookies stay in the worker, a random token goes into the filter state of the request ──► upstream
//! the same again ──► the filter state has the token ──► the cookies come back                          ◄── 302
//! ```
//!
//! A client cannot write filter state. The token is random, so an access log may show it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::request::RequestHead;
use crate::cookie::Jar;
use crate::flow::io::Io;
use crate::time::Timestamp;

/// How long the cookies of a request that ended are kept. The filters before this one may take their time.
const PERIOD: Duration = Duration::from_secs(10);

/// How many requests are kept, and how many bytes of cookies. Most requests without a response are of clients that went
/// away.
const MAX_ENDED: usize = 256;
const MAX_BYTES: usize = 2 << 20;

/// The cookies that were taken out of one request.
pub struct Stripped {
    token: String,
    cookies: Vec<u8>,
}

/// Never printed: it holds cookies.
impl fmt::Debug for Stripped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stripped(…)")
    }
}

impl Stripped {
    /// None if there are no random numbers.
    pub(in crate::flow) fn new(cookies: Vec<u8>, io: &impl Io) -> Option<Self> {
        let token = URL_SAFE_NO_PAD.encode(io.random::<16>().ok()?);
        Some(Self { token, cookies })
    }

    /// For the filter state of the request.
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// The cookies of requests that ended without a response, as a request does that Envoy sends once more.
#[derive(Default)]
pub(in crate::flow) struct EndedRequests(RefCell<VecDeque<(Timestamp, Stripped)>>);

impl EndedRequests {
    /// Keeps the cookies of a request that has ended.
    pub(in crate::flow) fn add(&self, stripped: Stripped, now: Timestamp) {
        let mut ended = self.0.borrow_mut();
        ended.push_back((now, stripped));
        let mut bytes: usize = ended.iter().map(|(_, stripped)| stripped.cookies.len()).sum();
        while let Some((at, oldest)) = ended.front()
            && (!at.was_within(PERIOD, now) || ended.len() > MAX_ENDED || bytes > MAX_BYTES)
        {
            bytes = bytes.saturating_sub(oldest.cookies.len());
            ended.pop_front();
        }
    }

    /// Whether none are kept. This also drops those that are too old: if no other request ends, nothing else would drop
    /// them.
    pub(in crate::flow) fn is_empty(&self, now: Timestamp) -> bool {
        let mut ended = self.0.borrow_mut();
        while ended.front().is_some_and(|(at, _)| !at.was_within(PERIOD, now)) {
            ended.pop_front();
        }
        ended.is_empty()
    }

    /// All cookies of a request, including those that were taken out of it when it came before.
    pub(in crate::flow) fn cookies_again(
        &self,
        head: &RequestHead,
        token: &[u8],
        now: Timestamp,
    ) -> Option<Vec<u8>> {
        let cookies = self.take(token, now)?;
        Some(Jar::new(head.all("cookie").chain([cookies.as_slice()])).only(|_| true))
    }

    fn take(&self, token: &[u8], now: Timestamp) -> Option<Vec<u8>> {
        let mut ended = self.0.borrow_mut();
        let at = ended.iter().position(|(_, stripped)| stripped.token.as_bytes() == token)?;
        let (at, stripped) = ended.remove(at)?;
        at.was_within(PERIOD, now).then_some(stripped.cookies)
    }
}
