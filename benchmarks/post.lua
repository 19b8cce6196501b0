-- Posts the files of a folder in turn: wrk -s post.lua URL -- FOLDER COUNT CONTENT_TYPE; ends with one line of JSON.
local requests, turn = {}, 0

function init(arguments)
  local folder, count, kind = arguments[1], tonumber(arguments[2]), arguments[3]
  for number = 0, count - 1 do
    local file = assert(io.open(string.format("%s/%d", folder, number), "rb"))
    requests[number + 1] = wrk.format("POST", nil, {["Content-Type"] = kind}, file:read("*a"))
    file:close()
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
