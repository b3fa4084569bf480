//! Host calls for which the SDK has no function, or one that panics, allocates for each header or wants UTF-8.
//!
//! The only `unsafe` code of the crate, besides `calls`. The signatures are those of the proxy-wasm ABI 0.2.1. The host allocates what
//! it returns by the SDK's `proxy_on_memory_allocate`, which is `Vec::with_capacity(size)`. So such a buffer becomes
//! ours again as a `Vec` of exactly that size.

use std::ptr;
use std::time::Duration;

use proxy_wasm::types::{BufferType, MapType, Status};

use crate::flow::HeaderBlock;

/// The status of a host call that worked.
const OK: u32 = 0;
/// The statuses of a host call that the host does not implement, or does not allow.
const INTERNAL_FAILURE: u32 = 10;
const UNIMPLEMENTED: u32 = 12;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        data: *const u8,
        data_size: usize,
    ) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_done() -> u32;
    fn proxy_get_status(code: *mut u32, message: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        results: *mut *mut u8,
        results_size: *mut usize,
    ) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_stream(
        cluster: *const u8,
        cluster_size: usize,
        service: *const u8,
        service_size: usize,
        method: *const u8,
        method_size: usize,
        metadata: *const u8,
        metadata_size: usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
}

/// `CLOCK_MONOTONIC` of WASI, and the result of a call that worked.
const MONOTONIC: u32 = 1;
const SUCCESS: u32 = 0;

/// The time of a clock that no user sets. `None` if the host has no such clock; some hosts give zero then.
pub(super) fn monotonic_time() -> Option<Duration> {
    let mut nanos = 0;
    // SAFETY: the pointer is valid for a write.
    let result = unsafe { clock_time_get(MONOTONIC, 1, &raw mut nanos) };
    (result == SUCCESS && nanos > 0).then(|| Duration::from_nanos(nanos))
}

/// The host no longer has the map or the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

fn done(status: u32) -> Result<(), Gone> {
    if status == OK { Ok(()) } else { Err(Gone) }
}

fn number(map: MapType) -> u32 {
    match map {
        MapType::HttpRequestHeaders => 0,
        MapType::HttpRequestTrailers => 1,
        MapType::HttpResponseHeaders => 2,
        MapType::HttpResponseTrailers => 3,
        _ => 6, // HttpCallResponseHeaders
    }
}

/// Why Envoy did not start a call or a stream to the bridge, for the log.
pub(super) fn call_error(status: Status, cluster: &str) -> String {
    match status {
        // The cluster has too many at the same time, or no endpoint.
        Status::InternalFailure => {
            format!("Envoy refused it at the cluster {cluster}: check its circuit_breakers and its endpoint")
        }
        // BadArgument for a call, ParseFailure for a stream.
        _ => {
            format!("Envoy has no cluster {cluster}: set bridge_cluster to the name of the bridge's cluster")
        }
    }
}

/// All headers of a map.
pub(super) fn headers(map: MapType) -> Result<HeaderBlock, Gone> {
    let mut data = ptr::null_mut();
    let mut size = 0;
    // SAFETY: both pointers are valid for writes; the host fills them in or returns an error.
    done(unsafe { proxy_get_header_map_pairs(number(map), &raw mut data, &raw mut size) })?;
    // SAFETY: the host returned both.
    Ok(HeaderBlock::parse(unsafe { returned(data, size) }))
}

/// One header; empty if it is missing.
pub(super) fn header(map: MapType, name: &str) -> Vec<u8> {
    let mut data = ptr::null_mut();
    let mut size = 0;
    let (name, length) = (name.as_ptr(), name.len());
    // SAFETY: the name is a live slice, both pointers are valid for writes; the host fills them in or returns an error.
    let status =
        unsafe { proxy_get_header_map_value(number(map), name, length, &raw mut data, &raw mut size) };
    if status != OK {
        return Vec::new();
    }
    // SAFETY: the host returned both.
    unsafe { returned(data, size) }
}

/// An attribute of a stream, such as `xds`, `cluster_name`; empty if Envoy does not know it.
pub(super) fn property(path: &[&str]) -> Vec<u8> {
    let path = path.join("\0");
    let mut data = ptr::null_mut();
    let mut size = 0;
    // SAFETY: `path` outlives the call, both pointers are valid for writes; the host fills them in or
    // returns an error.
    let status = unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut size) };
    if status != OK {
        return Vec::new();
    }
    // SAFETY: the host returned both.
    unsafe { returned(data, size) }
}

/// The buffer that the host returned, or an empty one for a null pointer.
///
/// # Safety
/// The host must have allocated the buffer by the SDK's allocator with this size, and filled it (see above).
pub(super) unsafe fn returned(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller promises it.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// Adds a header, and keeps others of its name.
pub(super) fn add_header(map: MapType, name: &str, value: &[u8]) -> Result<(), Gone> {
    // SAFETY: pointers and sizes are those of live slices; the host copies them.
    done(unsafe {
        proxy_add_header_map_value(number(map), name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Sets a header, and removes all others of its name.
pub(super) fn set_header(map: MapType, name: &str, value: &[u8]) -> Result<(), Gone> {
    // SAFETY: as `add_header`.
    done(unsafe {
        proxy_replace_header_map_value(number(map), name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes every header, or trailer, of a name.
pub(super) fn remove_header(map: MapType, name: &[u8]) -> Result<(), Gone> {
    // SAFETY: as `add_header`.
    done(unsafe { proxy_remove_header_map_value(number(map), name.as_ptr(), name.len()) })
}

/// Replaces `size` bytes of a part of a body, from `start` on, by these.
pub(super) fn set_buffer(buffer: BufferType, start: usize, size: usize, bytes: &[u8]) -> Result<(), Gone> {
    let buffer = match buffer {
        BufferType::HttpRequestBody => 0,
        _ => 1, // HttpResponseBody
    };
    // SAFETY: as `add_header`.
    done(unsafe { proxy_set_buffer_bytes(buffer, start, size, bytes.as_ptr(), bytes.len()) })
}

/// Sets a property of the effective request: filter state, for the access log and for the filters that follow. If the
/// request is gone, the property is not needed.
pub(super) fn set_property(name: &str, value: &[u8]) {
    // SAFETY: as `add_header`.
    let _ = unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// The `grpc-message` with which a gRPC stream ended, inside the callback that announces the end; empty if it had none.
pub(super) fn grpc_message() -> Vec<u8> {
    let (mut code, mut data, mut size) = (0, ptr::null_mut(), 0);
    // SAFETY: all pointers are valid for writes; the host fills them in or returns an error.
    let status = unsafe { proxy_get_status(&raw mut code, &raw mut data, &raw mut size) };
    if status != OK {
        return Vec::new();
    }
    // SAFETY: the host returned both.
    unsafe { returned(data, size) }
}

/// Lets a property live as long as its request, also if Envoy sends the request once more. Otherwise it would live as
/// long as one pass through the filters. Call this in the root context. A host without this function forgets the
/// property.
pub(super) fn declare_request_property(name: &str) {
    const FUNCTION: &str = "declare_property";
    /// The fields of Envoy's `DeclarePropertyArguments`: the number of each, and its wire type in Protocol Buffers.
    const NAME: u8 = 1 << 3 | 2;
    const TYPE: u8 = 3 << 3;
    const SPAN: u8 = 5 << 3;
    const STRING: u8 = 1;
    const DOWNSTREAM_REQUEST: u8 = 1;
    let length = u8::try_from(name.len()).unwrap_or(0);
    let arguments = [&[NAME, length], name.as_bytes(), &[TYPE, STRING, SPAN, DOWNSTREAM_REQUEST]].concat();
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the arguments outlive the call, and the pointers are valid for writes.
    let status = unsafe {
        proxy_call_foreign_function(
            FUNCTION.as_ptr(),
            FUNCTION.len(),
            arguments.as_ptr(),
            arguments.len(),
            &raw mut data,
            &raw mut size,
        )
    };
    if status == OK {
        // SAFETY: the host returned both.
        drop(unsafe { returned(data, size) });
    }
}

/// Ends the effective request without an answer.
pub(super) fn reset_request() {
    const HTTP_REQUEST: u32 = 0;
    // SAFETY: no pointers.
    let _ = unsafe { proxy_close_stream(HTTP_REQUEST) };
}

/// A metric of Envoy. All workers that name it share it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric(u32);

/// The kind of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) enum MetricKind {
    Counter,
    Histogram,
}

impl Metric {
    /// The metric of that name; `None` if Envoy does not define it.
    pub(super) fn new(kind: MetricKind, name: &str) -> Option<Self> {
        let kind = match kind {
            MetricKind::Counter => 0,
            MetricKind::Histogram => 2,
        };
        let mut id = 0;
        // SAFETY: the name is a live slice, and `id` is valid for writes.
        done(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) }).ok()?;
        Some(Self(id))
    }

    /// Counts one more.
    pub(super) fn increment(self) {
        // SAFETY: no pointers.
        let _ = unsafe { proxy_increment_metric(self.0, 1) };
    }

    /// Adds a value to a histogram.
    pub(super) fn record(self, value: u64) {
        // SAFETY: no pointers.
        let _ = unsafe { proxy_record_metric(self.0, value) };
    }
}

/// A name that no cluster has. Envoy first reads it as a Protocol Buffers message, which it is not either.
const NOWHERE: &[u8] = b"\xff";

/// The functions of the ABI that the filter needs and that this host has in name only.
///
/// A host without a function of that name does not load the module, and says so. But a host may answer "not
/// implemented", or may forbid a function (Envoy's `capability_restriction_config`). The SDK and the standard library
/// would panic then. So they are called once at the start, with arguments that have no effect.
pub(super) fn missing_functions() -> Vec<&'static str> {
    let (mut time, mut version, mut token) = (0, 0, 0);
    let (mut data, mut size) = (ptr::null_mut(), 0);
    let none = ptr::null();
    let (name, length) = (NOWHERE.as_ptr(), NOWHERE.len());
    // SAFETY: all pointers for results are valid for writes; each null pointer comes with the size 0. No effect: an
    // empty key has no data, a period of 0 sets no tick, and Envoy makes no call to a missing cluster.
    let answers = unsafe {
        [
            ("proxy_get_current_time_nanoseconds", proxy_get_current_time_nanoseconds(&raw mut time)),
            ("proxy_set_tick_period_milliseconds", proxy_set_tick_period_milliseconds(0)),
            (
                "proxy_get_shared_data",
                proxy_get_shared_data(none, 0, &raw mut data, &raw mut size, &raw mut version),
            ),
            ("proxy_http_call", proxy_http_call(name, length, none, 0, none, 0, none, 0, 0, &raw mut token)),
        ]
    };
    let has_random = getrandom::fill(&mut [0]).is_ok();
    let missing = answers.into_iter().filter(|(_, answer)| is_missing(*answer)).map(|(name, _)| name);
    missing.chain((!has_random).then_some("random_get")).collect()
}

/// Lets the host delete a root context that asked it in `on_done` to wait.
pub(super) fn root_is_done() {
    // SAFETY: no pointers. If the host did not wait, the call fails and changes nothing.
    let _ = unsafe { proxy_done() };
}

/// Whether the host has gRPC streams, which sessions in Redis need. It is asked in the same way.
pub(super) fn has_streams() -> bool {
    let (none, mut token) = (ptr::null(), 0);
    // SAFETY: as in `missing_functions`.
    !is_missing(unsafe {
        proxy_grpc_stream(NOWHERE.as_ptr(), NOWHERE.len(), none, 0, none, 0, none, 0, &raw mut token)
    })
}

fn is_missing(answer: u32) -> bool {
    matches!(answer, INTERNAL_FAILURE | UNIMPLEMENTED)
}

/// Answers the effective request in place of the upstream. The details are for Envoy's access log.
pub(super) fn send_response(
    status: u16,
    details: &str,
    headers: &[(&[u8], &[u8])],
    body: &[u8],
) -> Result<(), Gone> {
    let headers = HeaderBlock::serialize(headers);
    const NO_GRPC_STATUS: i32 = -1;
    // SAFETY: as `add_header`.
    done(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}
