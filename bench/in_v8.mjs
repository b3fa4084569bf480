// Runs the filter in V8 alone, without Envoy: the cost of its own code for a signed-in request, for a profiler.
//
//   node bench/in_v8.mjs MODULE COOKIES [REQUESTS] [OPTIONS]
//
// COOKIES is a file; each line is the value of a session cookie, as `make_cookies` writes them with the secret below in
// OAUTH2_PROXY_COOKIE_SECRET. OPTIONS is JSON that is added to the filter's. The host functions do as little as they
// can: a header is not added anywhere. Prints the CPU time of a request in microseconds.
import { readFileSync } from "node:fs";
import { randomFillSync } from "node:crypto";
import process from "node:process";

const [modulePath, cookiePath, requests = "100000", options = "{}"] = process.argv.slice(2);
const ROUNDS = 9;
const SECRETS = { OAUTH2_PROXY_COOKIE_SECRET: "0123456789abcdef0123456789abcdef", OAUTH2_PROXY_CLIENT_SECRET: "unused" };
const CONFIG = JSON.stringify({
  provider: "oidc",
  oidc_issuer_url: "https://login.example.com",
  client_id: "a",
  email_domains: ["*"],
  ...JSON.parse(options),
});
const OK = 0, NOT_FOUND = 1, BAD_ARGUMENT = 2;
const ROOT = 1;

const encode = (text) => new TextEncoder().encode(text);
const environment = Object.entries(SECRETS).map(([name, value]) => encode(`${name}=${value}\0`));
const bytes = () => new Uint8Array(filter.memory.buffer);
const view = () => new DataView(filter.memory.buffer);
const setU32 = (at, value) => view().setUint32(at, value, true);

/** Hands bytes over as the ABI wants it: in memory that the module allocates. */
function give(data, pointerAt, sizeAt) {
  const pointer = filter.proxy_on_memory_allocate(data.length);
  bytes().set(data, pointer);
  setU32(pointerAt, pointer);
  setU32(sizeAt, data.length);
  return OK;
}

let block;
const host = {
  proxy_get_header_map_pairs: (_map, pointerAt, sizeAt) => give(block, pointerAt, sizeAt),
  proxy_get_buffer_bytes: (_kind, _start, _most, pointerAt, sizeAt) => give(encode(CONFIG), pointerAt, sizeAt),
  proxy_get_property: () => NOT_FOUND,
  proxy_get_shared_data: () => NOT_FOUND,
  proxy_http_call: () => BAD_ARGUMENT,
  proxy_grpc_stream: () => BAD_ARGUMENT,
  proxy_define_metric: (_kind, _name, _size, idAt) => (setU32(idAt, 1), OK),
  proxy_get_log_level: (levelAt) => (setU32(levelAt, 2), OK),
  proxy_get_current_time_nanoseconds: (at) => (view().setBigUint64(at, BigInt(Date.now()) * 1000000n, true), OK),
  clock_time_get: (_clock, _precision, at) => (view().setBigUint64(at, process.hrtime.bigint(), true), OK),
  random_get: (at, length) => (randomFillSync(bytes().subarray(at, at + length)), OK),
  environ_sizes_get: (countAt, sizeAt) => {
    setU32(countAt, environment.length);
    setU32(sizeAt, environment.reduce((sum, entry) => sum + entry.length, 0));
    return OK;
  },
  environ_get: (pointersAt, at) => {
    for (const entry of environment) {
      setU32(pointersAt, at);
      bytes().set(entry, at);
      pointersAt += 4;
      at += entry.length;
    }
    return OK;
  },
};

/** count:u32 | (name_len:u32 value_len:u32) * count | (name NUL value NUL) * count */
function headerBlock(headers) {
  const parts = headers.flat().map(encode);
  const out = new Uint8Array(4 + parts.reduce((sum, part) => sum + 4 + part.length + 1, 0));
  const numbers = new DataView(out.buffer);
  numbers.setUint32(0, headers.length, true);
  let at = 4 + 4 * parts.length;
  parts.forEach((part, index) => {
    numbers.setUint32(4 + 4 * index, part.length, true);
    out.set(part, at);
    at += part.length + 1;
  });
  return out;
}

const module = new WebAssembly.Module(readFileSync(modulePath));
const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  (imports[from] ??= {})[name] = host[name] ?? (() => OK);
}
const filter = new WebAssembly.Instance(module, imports).exports;
filter._initialize?.();
filter.proxy_on_context_create(ROOT, 0);
filter.proxy_on_vm_start?.(ROOT, 0);
if (!filter.proxy_on_configure(ROOT, CONFIG.length)) throw new Error("the filter refused its configuration");

const blocks = readFileSync(cookiePath, "ascii").trim().split("\n").map((value) =>
  headerBlock([
    [":authority", "app.example.com"],
    [":path", "/"],
    [":method", "GET"],
    [":scheme", "http"],
    ["cookie", `_oauth2_proxy=${value}`],
    ["x-forwarded-proto", "http"],
    ["x-request-id", "e2b6d0f1-1b3f-4d4e-8c7a-111111111111"],
  ]),
);
let id = ROOT;
function request(number) {
  block = blocks[number % blocks.length];
  id += 1;
  filter.proxy_on_context_create(id, ROOT);
  const action = filter.proxy_on_request_headers(id, 7, 1);
  filter.proxy_on_response_headers?.(id, 3, 0);
  filter.proxy_on_done?.(id);
  filter.proxy_on_delete(id);
  return action;
}

const count = Number(requests);
const CONTINUE = 0;
if (request(0) !== CONTINUE) throw new Error("the filter does not let the request through");
const times = [];
for (let round = 0; round <= ROUNDS; round += 1) {
  const before = process.cpuUsage();
  for (let number = 0; number < count; number += 1) request(number);
  const { user, system } = process.cpuUsage(before);
  if (round > 0) times.push((user + system) / count); // the first round compiles
}
times.sort((a, b) => a - b);
const show = (value) => value.toFixed(2);
console.log(`${show(times[Math.floor(ROUNDS / 2)])} (${show(times[0])}..${show(times[ROUNDS - 1])}) us`);
