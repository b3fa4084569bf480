//! The rate limits of log lines that browsers can cause again and again.

use crate::runtime::rate::LogLimit;

/// One limit for each kind of line, so that lines of one kind do not suppress those of another.
#[derive(Default)]
pub(in crate::flow) struct LogLimits {
    /// Callbacks that failed in a way that any browser can cause.
    pub(in crate::flow) sign_ins_refused: LogLimit,
    /// Callbacks that can be tried again: something does not answer, or too many are under way.
    pub(in crate::flow) sign_ins_put_off: LogLimit,
    /// Callbacks that failed for a reason that the operator has to look into.
    pub(in crate::flow) sign_ins_failed: LogLimit,
    /// Calls of `backend_logout_url` that failed.
    pub(in crate::flow) logouts: LogLimit,
    /// Sign-outs that did not give the ID token to the target.
    pub(in crate::flow) id_tokens: LogLimit,
    /// Sign-outs that did not go on to the provider.
    pub(in crate::flow) end_session: LogLimit,
    /// Requests to the endpoint of back-channel logouts, for which Envoy has no route.
    pub(in crate::flow) no_route: LogLimit,
    /// Sessions that a login app handed over and that were not kept.
    pub(in crate::flow) handed_over: LogLimit,
}
