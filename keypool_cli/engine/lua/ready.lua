-- Whether a demand fits a project, when it will, and the sorted sets that answer it quickly.
-- A demand has requests, tokens and, once it waits, its number.

local cooled_until, avoids, refusal, window_fits_at, fits_at, headroom, place, ready_key
local add, write_gathered, commit, NOTHING_MORE

do -- Lua has room for 200 local names in one scope

local function usable(state)
  return USABLE[state.flags] and state.key_count > 0
end

function cooled_until(state)
  return max(state.cool_until, state.wide_until)
end

-- When the days' counts let `requests` more through; 0: now. What was booked just before a day's
-- end may fill the next day too.
local function day_opens_at(ctx, state, requests)
  local opens, most = 0, state.limit_day - requests
  if state.day_requests > most then
    opens = of_later_days(state, 'day') > most and ctx.day_after or ctx.day_end
  end
  if BOTH_DAYS[state.flags] and state.utc_requests > most then
    opens = max(opens, ctx.utc_at + (of_later_days(state, 'utc') > most and 2 or 1) * DAY_MS)
  end
  return opens
end

-- whether a demand that avoids some names the project as one it must not get, or (``=,1,``) others it must get
function avoids(demand, id)
  local named = find(demand.avoid, ',' .. id .. ',', 1, true) ~= nil
  return named ~= (sub(demand.avoid, 1, 1) == '=')
end

-- nil when it fits now, else the limit that refuses it
function refusal(ctx, state, demand)
  if demand.avoid and avoids(demand, state.id) then return 'avoided' end
  if not usable(state) then return 'unusable' end
  if state.cool_until > state.now or state.wide_until > state.now then return 'cooldown' end
  if state.held_until > 0 and state.held_by ~= demand.number then return 'held' end
  if day_opens_at(ctx, state, demand.requests) > 0 then return 'rpd' end
  if state.requests + demand.requests > state.limit_requests then return 'rpm' end
  if state.tokens + demand.tokens > state.limit_tokens then return 'tpm' end
  if state.in_flight >= state.limit_in_flight then return 'in_flight' end
end

-- When the window has room for the demand, were nothing else to come, and the limit that lacks
-- room longest; nil: never.
function window_fits_at(ctx, state, demand)
  if demand.requests > state.limit_requests or demand.tokens > state.limit_tokens then return nil end
  local excess_requests = state.requests + demand.requests - state.limit_requests
  local excess_tokens = state.tokens + demand.tokens - state.limit_tokens
  if excess_requests <= 0 and excess_tokens <= 0 then return state.now end
  local why, fits_at = excess_requests > 0 and 'rpm' or 'tpm', nil
  each_entry(ctx, state, function(at, requests, tokens)
    excess_requests, excess_tokens = excess_requests - requests, excess_tokens - tokens
    if excess_requests <= 0 and excess_tokens <= 0 then
      fits_at = at + ctx.window_ms + 1
      return true
    end
    why = excess_requests > 0 and 'rpm' or 'tpm'
  end)
  return fits_at or state.open_at + ctx.window_ms + 1, why
end

-- When enough leases of a project at its in-flight limit will have run out. Leases older than the
-- limit are not listed by project: while they are open, some lease must end first.
local function flight_opens_at(ctx, state)
  local over = state.in_flight - state.limit_in_flight
  local ends = call('ZRANGE', key(ctx, 'flight', state.id), over, over, 'WITHSCORES')
  if ends[2] then return tonumber(ends[2]) end
  ends = call('ZRANGE', key(ctx, 'leases'), 0, 0, 'WITHSCORES')
  return max(tonumber(ends[2] or 0), state.now)
end

-- The earliest instant a project can take the demand, were nothing else to come, and the limit
-- that holds it back longest; nil: it never will.
function fits_at(ctx, state, demand)
  if demand.avoid and avoids(demand, state.id) then return nil, 'avoided' end
  if not usable(state) then return nil, 'unusable' end
  if demand.requests > state.limit_day or state.limit_in_flight < 1 then return nil, 'larger' end
  local at, why = window_fits_at(ctx, state, demand)
  if not at then return nil, 'larger' end
  local opens, cooled = day_opens_at(ctx, state, demand.requests), cooled_until(state)
  if opens > at then at, why = opens, 'rpd' end
  if cooled > at then at, why = cooled, 'cooldown' end
  if state.in_flight >= state.limit_in_flight then
    local lands = flight_opens_at(ctx, state)
    if lands > at then at, why = lands, 'in_flight' end
  end
  if state.held_until > at and state.held_by ~= demand.number then at, why = state.held_until, 'held' end
  return at, why
end

NOTHING_MORE = { requests = 1, tokens = 1 }

-- Requests that the days' counts let through.
local function day_left(state)
  local used = state.day_requests
  if BOTH_DAYS[state.flags] then used = max(used, state.utc_requests) end
  return state.limit_day - used
end

-- When a ready project may next take more than now; 0: it has all the room there is.
local function grows_at(ctx, left, expiry)
  if left >= MOST_REQUESTS then return expiry end
  local day_end = min(ctx.day_end, ctx.utc_at + DAY_MS)
  return expiry > 0 and min(expiry, day_end) or day_end
end

-- A project's score in the ready sets: what it has left of its limits, tokens first. most: of the
-- requests; a demand that fits by the score fits.
function headroom(tokens_left, requests_left, most)
  if tokens_left > UNLIMITED then tokens_left = UNLIMITED end -- min() is called, and costs five times as much
  if requests_left > most then requests_left = most end
  return tokens_left * 4096 + requests_left
end

-- Works out where a project belongs: in its ready sets, or among the blocked until an instant.
function place(ctx, state)
  state.dirty = true
  state.score, state.blocked_at = 0, 0
  local why = refusal(ctx, state, NOTHING_MORE)
  if why == 'unusable' then
    state.stale_at = 0
    return
  end
  local expiry = next_expiry(ctx, state)
  if not why then
    local left = day_left(state)
    state.score = headroom(state.limit_tokens - state.tokens, state.limit_requests - state.requests,
      left < MOST_REQUESTS and left or MOST_SCORED)
    local grows = grows_at(ctx, left, expiry)
    if grows > 0 and (state.stale_at == 0 or grows < state.stale_at) then state.stale_at = grows end
    return
  end
  state.stale_at = 0
  if why == 'in_flight' then
    if state.limit_in_flight > 0 then state.blocked_at = flight_opens_at(ctx, state) end
    return
  end
  local opens = max(cooled_until(state), day_opens_at(ctx, state, 1), state.held_until)
  if state.requests >= state.limit_requests or state.tokens >= state.limit_tokens then opens = max(opens, expiry) end
  state.blocked_at = opens
end

function ready_key(ctx, pool, priority)
  local slot = pool * 4294967296 + priority
  local name = ctx.names[slot]
  if not name then
    name = key(ctx, 'ready', pool .. ':' .. priority)
    ctx.names[slot] = name
  end
  return name
end

-- Adds to a sorted set (score, member) or a hash (field, value): at once, or gathered to one command
-- a key where a call makes many.
function add(ctx, command, name, one, other)
  if not ctx.sets then
    call(command, name, one, other)
    return
  end
  local adds = ctx.sets[name]
  if not adds then
    adds = { command = command }
    ctx.sets[name] = adds
  end
  local count = #adds
  adds[count + 1], adds[count + 2] = one, other
end

-- to another place in a set, or out of it
local function move(ctx, name, is, member)
  if is == 0 then
    call('ZREM', name, member)
  else
    add(ctx, 'ZADD', name, is, member)
  end
end

local function save_places(ctx, state)
  if state.score ~= state.was_score then
    for i = 1, #state.pools do
      move(ctx, ready_key(ctx, state.pools[i], state.priority), state.score, state.id)
    end
  end
  if state.blocked_at ~= state.was_blocked_at then
    move(ctx, key(ctx, 'blocked'), state.blocked_at, state.id)
  end
  if state.blocked_at > 0 then ctx.first_at = min(ctx.first_at or FAR, state.blocked_at) end
  if state.stale_at ~= state.was_stale_at then move(ctx, key(ctx, 'stale'), state.stale_at, state.id) end
  state.was_score, state.was_blocked_at, state.was_stale_at = state.score, state.blocked_at, state.stale_at
end

local function bring_due_forward(ctx)
  -- a model that is not sealed opens at once when it is
  if ctx.opens_at and ctx.first_at < ctx.opens_at then set_due(ctx, ctx.first_at) end
  ctx.first_at = nil
end

function write_gathered(ctx)
  if ctx.closed and ctx.closed[1] then
    call('ZREM', key(ctx, 'leases'), unpack(ctx.closed))
    ctx.closed = {}
  end
  if not ctx.sets or not next(ctx.sets) then return end
  for name, adds in pairs(ctx.sets) do call(adds.command, name, unpack(adds)) end
  ctx.sets = {}
end

-- Writes what the call changed; the states stay readable for the rest of it. What was read of the
-- ready sets may have moved.
function commit(ctx)
  ctx.ready = nil
  local first, values = nil, nil -- mostly there is one only
  for i = 1, #ctx.order do
    local state = ctx.order[i]
    if state.dirty then
      state.dirty = false
      if not state.is_client then save_places(ctx, state) end
      if state.ring_count == 0 and state.ring_head > 0 then
        state.ring_head = 0
        call('DEL', key(ctx, 'ring', state.id))
      end
      if not first then
        first = state
      else
        values = values or { first.key, bytes_of(first) }
        values[#values + 1] = state.key
        values[#values + 1] = bytes_of(state)
      end
    end
  end
  if values then
    call('MSET', unpack(values))
  elseif first then
    write_state(first)
  end
  if ctx.first_at then bring_due_forward(ctx) end
  write_gathered(ctx)
end

end
