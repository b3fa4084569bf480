-- wrk's script: sends cookies in turn, and reports as JSON.
--
--   wrk … -s load.lua URL -- FILE       FILE: the header Cookie of a request a line; an empty file for no cookie
--
-- Every variant goes through the same code, so what the client costs is the same for all.

local HOST = "app.example.com"
local requests = {}
local position = 0

function init(arguments)
   for value in io.lines(arguments[1]) do
      requests[#requests + 1] = wrk.format("GET", "/", { ["Host"] = HOST, ["Cookie"] = value })
   end
   if #requests == 0 then
      requests[1] = wrk.format("GET", "/", { ["Host"] = HOST })
   end
end

function request()
   position = position % #requests + 1
   return requests[position]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "p50_us": %.0f, "p99_us": %.0f, "errors": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
