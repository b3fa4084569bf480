//! The filter's metrics, under `wasmcustom.` in Envoy's statistics. docs/operations.md documents the names.

use std::time::Duration;

use super::abi::{Metric, MetricKind};
use crate::flow::Unavailable;
use crate::flow::io::Count;
use crate::runtime::RedisCount;

/// The metrics of one worker. Envoy adds up those of all workers.
#[derive(Clone, Copy, Default)]
pub(super) struct Metrics {
    commands: Option<Metric>,
    errors: Option<Metric>,
    connects: Option<Metric>,
    connect_failures: Option<Metric>,
    disconnects: Option<Metric>,
    tracked: Option<Metric>,
    untracked: Option<Metric>,
    changes: Option<Metric>,
    command_time: Option<Metric>,
    refreshes: Option<Metric>,
    refreshes_refused: Option<Metric>,
    refreshes_failed: Option<Metric>,
    client_refused: Option<Metric>,
    lock_waits: Option<Metric>,
    handed_over: Option<Metric>,
    handed_over_refused: Option<Metric>,
    handed_over_dropped: Option<Metric>,
    sign_ins: Option<Metric>,
    sign_ins_failed: Option<Metric>,
    misconfigured: Option<Metric>,
    callbacks_refused: Option<Metric>,
    busy_codes: Option<Metric>,
    busy_refreshes: Option<Metric>,
    busy_logouts: Option<Metric>,
    secrets_changed: Option<Metric>,
    secrets_unusable: Option<Metric>,
    sign_outs: Option<Metric>,
    sessions_ended: Option<Metric>,
    sessions_idle: Option<Metric>,
    sessions_too_old: Option<Metric>,
    index_failed: Option<Metric>,
    older_secret: Option<Metric>,
    backchannel_logouts: Option<Metric>,
    backchannel_logouts_refused: Option<Metric>,
    backchannel_logouts_failed: Option<Metric>,
    busy_logout_tokens: Option<Metric>,
    unavailable_provider: Option<Metric>,
    unavailable_redis: Option<Metric>,
    unavailable_random: Option<Metric>,
    unavailable_secret: Option<Metric>,
    unavailable_busy: Option<Metric>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let counter = |name: &str| Metric::new(MetricKind::Counter, &format!("oauth2_session.{name}"));
        Self {
            commands: counter("redis.commands"),
            errors: counter("redis.errors"),
            connects: counter("redis.connects"),
            connect_failures: counter("redis.connect_failures"),
            disconnects: counter("redis.disconnects"),
            tracked: counter("redis.tracked"),
            untracked: counter("redis.untracked"),
            changes: counter("redis.changes"),
            command_time: Metric::new(MetricKind::Histogram, "oauth2_session.redis.command_time_us"),
            refreshes: counter("refreshes"),
            refreshes_refused: counter("refreshes_refused"),
            refreshes_failed: counter("refreshes_failed"),
            client_refused: counter("client_refused"),
            lock_waits: counter("redis.lock_waits"),
            handed_over: counter("handed_over"),
            handed_over_refused: counter("handed_over_refused"),
            handed_over_dropped: counter("handed_over_dropped"),
            sign_ins: counter("sign_ins"),
            sign_ins_failed: counter("sign_ins_failed"),
            misconfigured: counter("provider_misconfigured"),
            callbacks_refused: counter("callbacks_refused"),
            busy_codes: counter("busy.codes"),
            busy_refreshes: counter("busy.refreshes"),
            busy_logouts: counter("busy.logouts"),
            secrets_changed: counter("secrets_changed"),
            secrets_unusable: counter("secrets_unusable"),
            sign_outs: counter("sign_outs"),
            sessions_ended: counter("sessions_ended"),
            sessions_idle: counter("sessions_idle"),
            sessions_too_old: counter("sessions_too_old"),
            index_failed: counter("redis.index_failed"),
            older_secret: counter("cookies_of_older_secret"),
            backchannel_logouts: counter("backchannel_logouts"),
            backchannel_logouts_refused: counter("backchannel_logouts_refused"),
            backchannel_logouts_failed: counter("backchannel_logouts_failed"),
            busy_logout_tokens: counter("busy.logout_tokens"),
            unavailable_provider: counter("unavailable.provider"),
            unavailable_redis: counter("unavailable.redis"),
            unavailable_random: counter("unavailable.random"),
            unavailable_secret: counter("unavailable.secret"),
            unavailable_busy: counter("unavailable.busy"),
        }
    }

    /// Counts for the statistics of Redis.
    pub(super) fn count_redis(&self, what: RedisCount) {
        match what {
            RedisCount::Command { has_reply, time } => self.command(has_reply, time),
            RedisCount::Connected => increment(self.connects),
            RedisCount::ConnectFailed => increment(self.connect_failures),
            RedisCount::Disconnected => increment(self.disconnects),
            RedisCount::Tracked => increment(self.tracked),
            RedisCount::Untracked => increment(self.untracked),
            RedisCount::Changed => increment(self.changes),
        }
    }

    fn command(&self, has_reply: bool, time: Duration) {
        increment(self.commands);
        if !has_reply {
            increment(self.errors);
        }
        if let Some(metric) = self.command_time {
            metric.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Counts what a flow reports.
    pub(super) fn count(&self, what: Count) {
        increment(match what {
            Count::Refresh => self.refreshes,
            Count::RefreshRefused => self.refreshes_refused,
            Count::RefreshFailed => self.refreshes_failed,
            Count::ClientRefused => self.client_refused,
            Count::LockWait => self.lock_waits,
            Count::HandedOver => self.handed_over,
            Count::HandedOverRefused => self.handed_over_refused,
            Count::HandedOverDropped => self.handed_over_dropped,
            Count::SignIn => self.sign_ins,
            Count::SignInFailed => self.sign_ins_failed,
            Count::Misconfigured => self.misconfigured,
            Count::CallbackRefused => self.callbacks_refused,
            Count::CodesBusy => self.busy_codes,
            Count::RefreshesBusy => self.busy_refreshes,
            Count::LogoutsBusy => self.busy_logouts,
            Count::SecretChanged => self.secrets_changed,
            Count::SecretUnusable => self.secrets_unusable,
            Count::SignOut => self.sign_outs,
            Count::SessionEnded => self.sessions_ended,
            Count::SessionIdle => self.sessions_idle,
            Count::SessionTooOld => self.sessions_too_old,
            Count::IndexFailed => self.index_failed,
            Count::OlderSecret => self.older_secret,
            Count::BackchannelLogout => self.backchannel_logouts,
            Count::BackchannelLogoutRefused => self.backchannel_logouts_refused,
            Count::BackchannelLogoutFailed => self.backchannel_logouts_failed,
            Count::LogoutTokensBusy => self.busy_logout_tokens,
            Count::Unavailable(Unavailable::Provider | Unavailable::Misconfigured) => {
                self.unavailable_provider
            }
            Count::Unavailable(Unavailable::Redis | Unavailable::NoIndex | Unavailable::TooLarge(_)) => {
                self.unavailable_redis
            }
            Count::Unavailable(Unavailable::Random) => self.unavailable_random,
            Count::Unavailable(Unavailable::Secret) => self.unavailable_secret,
            Count::Unavailable(Unavailable::Busy) => self.unavailable_busy,
        });
    }
}

fn increment(metric: Option<Metric>) {
    if let Some(metric) = metric {
        metric.increment();
    }
}
