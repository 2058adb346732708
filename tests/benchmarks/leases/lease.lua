-- What wrk sends: a lease of 100 tokens; PAUSE_MS between the calls of one connection.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.body = '{"model":"gemini-2.5-flash","tokens":100}'

local pause = tonumber(os.getenv("PAUSE_MS") or "0")
if pause > 0 then
  function delay()
    return pause * (0.5 + math.random())
  end
end
