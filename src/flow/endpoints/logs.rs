//! The limits of the log lines that a browser can cause again and again.

use crate::runtime::rate::LogLimit;

/// One limit for each kind of line, so that one kind leaves none of another out.
#[derive(Default)]
pub(in crate::flow) struct Logs {
    /// Callbacks that failed as any browser can make them fail.
    pub(in crate::flow) sign_ins_refused: LogLimit,
    /// Callbacks that can be asked again, because something does not answer or too many ask.
    pub(in crate::flow) sign_ins_put_off: LogLimit,
    /// Callbacks that failed for a reason that the operator has to look into.
    pub(in crate::flow) sign_ins_failed: LogLimit,
    /// Calls of `backend_logout_url` that failed.
    pub(in crate::flow) logouts: LogLimit,
    /// ID tokens that a sign-out did not hand out.
    pub(in crate::flow) id_tokens: LogLimit,
    /// Sessions that were handed over and not kept.
    pub(in crate::flow) handed_over: LogLimit,
}
