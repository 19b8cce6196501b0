-- Posts the files of a folder in turn: wrk -s post.lua URL -- FOLDER COUNT CONTENT_TYPE SETTLE; ends with one line of JSON.
-- Answers of the first SETTLE seconds are not counted: where one takes long, those that are under way at the end would
-- otherwise be missing from the count, as none was under way at the start.
local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int clock, moment *now);")
local requests, threads, turn = {}, {}, 0

local function now()
  local moment = ffi.new("moment")
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local folder, count, kind = arguments[1], tonumber(arguments[2]), arguments[3]
  settle, counted = tonumber(arguments[4]), 0
  for number = 0, count - 1 do
    local file = assert(io.open(string.format("%s/%d", folder, number), "rb"))
    requests[number + 1] = wrk.format("POST", nil, {["Content-Type"] = kind}, file:read("*a"))
    file:close()
  end
  if settle > 0 then
    local start = now() + settle
    response = function(status)
      if status < 400 and now() >= start then counted = counted + 1 end
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  local settle, answered = threads[1]:get("settle"), summary.requests - errors.status
  if settle > 0 then answered = threads[1]:get("counted") end
  io.write(string.format(
    '{"answered": %d, "seconds": %f, "p50": %f, "p99": %f, "failed": %d}\n',
    answered, summary.duration / 1e6 - settle, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
