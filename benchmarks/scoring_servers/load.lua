-- One request over and over, for wrk: its body is the file named after `--`. What was seen is printed as JSON.

function init(args)
   local file = assert(io.open(args[1], "rb"))
   wrk.method = "POST"
   wrk.body = file:read("*a")
   wrk.headers["Content-Type"] = "application/json"
   file:close()
   made = wrk.format(nil, "/score")
end

function request()
   return made
end

function done(summary, latency)
   local errors = summary.errors
   print(string.format(
      '\nseen {"answers": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d}',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
