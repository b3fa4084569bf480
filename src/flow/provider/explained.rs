//! Which of the provider's keys are not used, as the log has it: once for each document.
//!
//! The servers of one provider may have different documents, and a stranger can have them fetched again and again: a token
//! with a key that nobody knows is enough. So a document that differs from the last one is no news by that alone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use log::{Level, log};

use crate::oidc::PassedOver;
use crate::time::Timestamp;

/// A document that was not seen for this long is explained again: what was mended may be broken again.
const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// So many documents are known, more than a provider has at a time.
const MAX_DOCUMENTS: usize = 8;

/// The documents with keys that are not used, each as these keys and when it was seen last; the last one at the end.
#[derive(Default)]
pub(in crate::flow) struct Explained(RefCell<VecDeque<(Timestamp, Vec<PassedOver>)>>);

impl Explained {
    /// Says why keys of a document are not used, if it is news.
    pub(in crate::flow) fn explain(&self, passed_over: &[PassedOver], level: Level, now: Timestamp) {
        if passed_over.is_empty() {
            return;
        }
        let mut known = self.0.borrow_mut();
        let is_known =
            |(at, keys): &(Timestamp, Vec<PassedOver>)| keys == passed_over && at.was_within(PERIOD, now);
        if !known.iter().any(is_known) {
            for key in passed_over {
                log!(level, "keys (jwks_uri): {key}");
            }
        }
        known.retain(|(_, keys)| keys != passed_over);
        known.push_back((now, passed_over.to_vec()));
        if known.len() > MAX_DOCUMENTS {
            known.pop_front();
        }
    }
}
