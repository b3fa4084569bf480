//! Which of the provider's keys are not used, for the log: once for each document.
//!
//! The servers of one provider may have different documents, and any client can make the filter fetch them again and
//! again: a token with an unknown key is enough. So a document is not explained again only because it differs from the
//! last one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use log::{Level, log};

use crate::oidc::SkippedKey;
use crate::time::Timestamp;

/// A document that was not seen for this long is explained again: what was fixed may be broken again.
const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// The most documents that are remembered, more than a provider has at a time.
const MAX_DOCUMENTS: usize = 8;

/// The documents with keys that are not used: these keys, and when the document was last seen. The latest is at the
/// end.
#[derive(Default)]
pub(in crate::flow) struct SkippedKeyLog(RefCell<VecDeque<(Timestamp, Vec<SkippedKey>)>>);

impl SkippedKeyLog {
    /// Logs why keys of a document are not used, unless it was logged already.
    pub(in crate::flow) fn log(&self, skipped: &[SkippedKey], level: Level, now: Timestamp) {
        if skipped.is_empty() {
            return;
        }
        let mut known = self.0.borrow_mut();
        let is_known =
            |(at, keys): &(Timestamp, Vec<SkippedKey>)| keys == skipped && at.was_within(PERIOD, now);
        if !known.iter().any(is_known) {
            for key in skipped {
                log!(level, "keys (jwks_uri): {key}");
            }
        }
        known.retain(|(_, keys)| keys != skipped);
        known.push_back((now, skipped.to_vec()));
        if known.len() > MAX_DOCUMENTS {
            known.pop_front();
        }
    }
}
