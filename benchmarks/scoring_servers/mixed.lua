-- Good requests and bad ones in turn, for wrk, at a rate; every answer has to be one that was asked for.
-- Arguments after `--`: requests per second of all connections (0: as many as it can), number of connections.

local body = '{"token":%d,"data":[[1,2,3,4,5,6,7,8,9,10]]}'
local json = {["Content-Type"] = "application/json"}
-- kind: how many of a hundred, the status of its answer, and what is sent
local kinds = {
   {share = 80, status = 200, method = "POST", path = "/score", body = body},
   {share = 5, status = 500, method = "POST", path = "/score", body = '{"do":"fail"}'},
   {share = 5, status = 500, method = "POST", path = "/score", body = '{"cut off'},
   {share = 4, status = 404, method = "GET", path = "/nowhere"},
   {share = 3, status = 405, method = "PUT", path = "/score", body = body},
   {share = 3, status = 200, method = "GET", path = "/"},
}
local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   rate, connections = tonumber(args[1]), tonumber(args[2])
   sent, answered, order = {}, {}, {}
   for _, kind in ipairs(kinds) do
      for _ = 1, kind.share do table.insert(order, kind) end
   end
   for at = #order, 2, -1 do
      local other = math.random(at)
      order[at], order[other] = order[other], order[at]
   end
   at, token, verified = 0, 0, false
end

function delay()
   if rate == 0 then return 0 end
   local pause = connections * 1000 / rate  -- whole milliseconds only: the right mean
   return math.floor(pause) + (math.random() < pause % 1 and 1 or 0)
end

function request()
   at, token = at % #order + 1, token + 1
   local kind = order[at]
   if verified then  -- the first one is made to be looked at, and not sent
      sent[kind.status] = (sent[kind.status] or 0) + 1
   end
   verified = true
   return wrk.format(kind.method, kind.path, json, kind.body and string.format(kind.body, token))
end

function response(status)
   answered[status] = (answered[status] or 0) + 1
end

local function counted(counts)
   local texts = {}
   for status, count in pairs(counts) do table.insert(texts, string.format('"%d": %d', status, count)) end
   return "{" .. table.concat(texts, ", ") .. "}"
end

function done(summary, latency)
   local errors = summary.errors
   print(string.format(
      '\nseen {"answers": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d, "sent": %s, "answered": %s}',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.connect + errors.read + errors.write + errors.timeout,
      counted(threads[1]:get("sent")), counted(threads[1]:get("answered"))))
end
