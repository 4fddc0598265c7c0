-- SPDX-License-Identifier: Apache-2.0
-- wrk -s post.lua URL -- BODY_FILE KEY: posts the file again and again, prints one line of JSON.

local request_text

function init(args)
    local file = assert(io.open(args[1], "rb"))
    local body = file:read("*a")
    file:close()
    request_text = wrk.format("POST", nil, {
        ["Content-Type"] = "application/json",
        ["Authorization"] = "Bearer " .. args[2],
    }, body)
end

function request()
    return request_text
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests":%d,"errors":%d,"refused":%d,"p50_us":%d,"p99_us":%d}\n', summary.requests,
        errors.connect + errors.read + errors.write + errors.timeout, errors.status,
        latency:percentile(50), latency:percentile(99)))
end
