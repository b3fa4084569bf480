//! Redis by calls of the host, as Higress has them: two functions, a callback, and a buffer for the reply.
//!
//! ```text
//! proxy_redis_init(service, username, password, milliseconds)     service: cluster?db=1&…
//! proxy_redis_call(service, command, &token)
//! proxy_on_redis_call_response(root context, token, status, size) status 0: a reply, in buffer 9; 1: network error
//! ```

use std::ptr;
use std::time::Duration;

use log::warn;

use super::{abi, io};
use crate::config::Config;
use crate::redis::{Endpoint, Topology};
use crate::runtime::calls::{Arrival, CallHost, Calls, Login};
use crate::runtime::rate::LogLimit;

/// The host writes each command at once. Otherwise it may wait 3 ms for others.
const AT_ONCE: &str = "buffer_flush_timeout=0&max_buffer_size_before_flush=0";

const OK: u32 = 0;
const BAD_ARGUMENT: u32 = 2;
const REDIS_CALL_RESPONSE: u32 = 9;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_redis_init(
        service: *const u8,
        service_size: usize,
        username: *const u8,
        username_size: usize,
        password: *const u8,
        password_size: usize,
        timeout: u32,
    ) -> u32;
    fn proxy_redis_call(
        service: *const u8,
        service_size: usize,
        command: *const u8,
        command_size: usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        data: *mut *mut u8,
        returned_size: *mut usize,
    ) -> u32;
}

unsafe extern "C" {
    /// Of the SDK.
    fn proxy_on_foreign_function(context: u32, function: u32, size: usize);
}

/// The callback. The SDK does not know it, but has to know which context runs: an HTTP call that begins now belongs to
/// that. So it comes to the root context as the callback of a function that the ABI does not define.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_redis_call_response(root: u32, token: u32, status: u32, size: usize) {
    let size = if status == OK { size } else { 0 };
    // SAFETY: no pointers.
    unsafe { proxy_on_foreign_function(root, token, size) };
}

/// The streams of one root context, made of calls.
pub(super) struct RedisLink {
    calls: Calls,
    refusals: LogLimit,
}

impl RedisLink {
    pub(super) fn new(_root_id: u32, config: &Config) -> Self {
        let client = config.redis.as_ref().map(|redis| &redis.client);
        let service = client.map(|client| &client.topology).map_or_else(String::new, cluster);
        let timeout = client.map_or(Duration::ZERO, |client| client.command_timeout);
        Self { calls: Calls::new(&service, timeout), refusals: LogLimit::default() }
    }

    /// The service is known already.
    pub(super) fn open(&self, _method: &str, _headers: Vec<(&str, &[u8])>) -> Result<u32, String> {
        Ok(self.calls.open())
    }

    pub(super) fn write(&self, token: u32, bytes: &[u8]) -> bool {
        let written = self.calls.write(token, bytes, &Gateway);
        if let Err(why) = &written
            && let Some(left_out) = self.refusals.next(io::steady())
        {
            warn!("Redis: {why}{left_out}");
        }
        written.is_ok()
    }

    pub(super) fn close(&self, token: u32) {
        self.calls.close(token);
    }

    /// The reply of a call came, with this size; 0 if the host has lost the connection.
    pub(super) fn answered(&self, token: u32, size: usize) -> Option<Arrival> {
        self.calls.answered(token, reply(size).as_deref())
    }
}

/// The cluster that Higress makes of a service: `outbound|6379||redis.dns`.
fn cluster(topology: &Topology) -> String {
    match topology {
        Topology::Single(Endpoint { host, port, .. }) => format!("outbound|{port}||{host}"),
        // The configuration refuses it.
        _ => String::new(),
    }
}

/// The reply that the callback announces; `None` if there is none.
fn reply(size: usize) -> Option<Vec<u8>> {
    let (mut data, mut returned_size) = (ptr::null_mut(), 0);
    if size == 0 {
        return None;
    }
    // SAFETY: both pointers are valid for writes; the host fills them in or returns an error.
    let status = unsafe {
        proxy_get_buffer_bytes(REDIS_CALL_RESPONSE, 0, size, &raw mut data, &raw mut returned_size)
    };
    // SAFETY: the host returned both.
    (status == OK).then(|| unsafe { abi::returned(data, returned_size) })
}

/// The gateway.
struct Gateway;

impl CallHost for Gateway {
    fn init(&self, service: &str, login: &Login, timeout: Duration) -> Result<(), String> {
        let database = match str::from_utf8(&login.database) {
            Ok(database) if !database.is_empty() => format!("db={database}&"),
            _ => String::new(),
        };
        let with_parameters = format!("{service}?{database}{AT_ONCE}");
        let (username, password) = (&login.username, &login.password);
        // SAFETY: pointers and sizes are those of live slices; the host copies them.
        let status = unsafe {
            proxy_redis_init(
                with_parameters.as_ptr(),
                with_parameters.len(),
                username.as_ptr(),
                username.len(),
                password.as_ptr(),
                password.len(),
                u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            )
        };
        if status == OK { Ok(()) } else { Err(call_error(status, service)) }
    }

    fn call(&self, service: &str, command: &[u8]) -> Result<u32, String> {
        let mut token = 0;
        // SAFETY: pointers and sizes are those of live slices, which the host copies; `token` is valid for writes.
        let status = unsafe {
            proxy_redis_call(service.as_ptr(), service.len(), command.as_ptr(), command.len(), &raw mut token)
        };
        if status == OK { Ok(token) } else { Err(call_error(status, service)) }
    }
}

fn call_error(status: u32, service: &str) -> String {
    match status {
        BAD_ARGUMENT => {
            format!("the gateway has no cluster {service}: set redis_service to a service that it knows")
        }
        _ => format!("the gateway has no healthy endpoint in the cluster {service}"),
    }
}
