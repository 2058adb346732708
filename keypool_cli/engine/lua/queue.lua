-- Demands that wait. Turns go round the clients; within one client, in order of arrival. A demand
-- too large for now lets smaller ones pass until it has waited starve_ms: then one project is
-- kept free for it until it fits.

local DEAD_DAEMON_MS = 5000
local HOLD_MS = 5000 -- renewed whenever its waiters are looked at
local MOST_LOOKS = 16 -- at a pool's waiters in one call

local function seen_daemon(ctx, daemon)
  call('SET', key(ctx, 'daemon', daemon), ctx.now, 'PX', 60000)
end

local function wake_by(ctx, at)
  ctx.wake_at = min(ctx.wake_at or at, at)
end

-- Puts a demand at the end of its client's line.
local function enqueue(ctx, pool, demand)
  local turns, client = key(ctx, 'turns', pool.id), integer(demand.client)
  local known = call('HMGET', turns, '', client)
  local turn = max(tonumber(known[1] or 0), tonumber(known[2] or 0))
  demand.number, demand.since, demand.pool = call('INCR', key(ctx, 'ticket')), ctx.now, pool.id
  call('HSET', turns, client, turn + 1)
  call('ZADD', queue_key(ctx, pool.id), turn, member_name(demand))
  call('ZADD', key(ctx, 'sizes', pool.id), demand.tokens, demand.lease_id)
  save_waiter(ctx, demand)
  seen_daemon(ctx, demand.daemon)
  set_waiting(ctx, ctx.waiting + 1)
end

-- Notes that waiters of any of these pools may fit now.
local function look_again(ctx, ids)
  if not ctx.roomy then ctx.roomy, ctx.looks = {}, {} end
  for _, id in ipairs(ids) do
    if (ctx.looks[id] or 0) < MOST_LOOKS then ctx.roomy[id] = ctx.model.pools[id] end
  end
end

-- Gives back the project that was kept free for the waiter, if one was.
local function let_go(ctx, waiter)
  local state = waiter.held and get_state(ctx, waiter.held)
  if not state or state.held_by ~= waiter.number then return end
  advance(ctx, state)
  keep_for(state, 0, 0)
  place(ctx, state)
  commit(ctx)
  if state.score > 0 then look_again(ctx, state.pools) end
end

-- Takes a waiter's place from a line; answers whether it had one.
local function leave_line(ctx, pool, member, lease_id)
  local queue = queue_key(ctx, pool)
  if call('ZREM', queue, member) == 0 then return false end
  call('ZREM', key(ctx, 'sizes', pool), lease_id)
  if call('EXISTS', queue) == 0 then call('DEL', key(ctx, 'turns', pool)) end
  return true
end

-- Forgets a waiter.
local function leave_queue(ctx, waiter)
  if not leave_line(ctx, waiter.pool, member_name(waiter), waiter.lease_id) then return end
  call('HDEL', key(ctx, 'waiter'), waiter.lease_id)
  set_waiting(ctx, ctx.waiting - 1)
  if waiter.held then call('DEL', key(ctx, 'holder', waiter.pool)) end
  let_go(ctx, waiter)
end

local function deliver(ctx, waiter, lease)
  local list = key(ctx, 'grants', waiter.daemon)
  call('RPUSH', list, lease .. waiter.lease_id)
  call('EXPIRE', list, 60)
  -- A user without channel rights must not end the script half-way; the daemon looks by itself.
  redis.pcall('PUBLISH', 'kp:wake:' .. waiter.daemon, ctx.tag)
end

local hold, stand_back, serve

do -- Lua has room for 200 local names in one scope

-- Whether a project is worth being kept free. One that is closed for longer than a window is not,
-- but a lease mostly ends long before it must.
local function is_soon(ctx, at, why)
  return at <= ctx.now + ctx.window_ms + 1 or why == 'in_flight'
end

-- The project kept for a waiter and when it fits; nil when it is worth no more waiting: it is
-- another's by now, has left the pool, or does not fit soon.
local function still_held(ctx, waiter)
  local state = waiter.held and get_state(ctx, waiter.held)
  if not state or (state.held_by ~= 0 and state.held_by ~= waiter.number) then return nil end
  if not member_of(state, waiter.pool) then return nil end
  advance(ctx, state)
  local at, why = fits_at(ctx, state, waiter)
  if at and is_soon(ctx, at, why) then return state, at end
end

-- Lets another have a project kept free.
function stand_back(ctx, waiter)
  if not waiter.held then return end
  let_go(ctx, waiter)
  waiter.held = nil
  save_waiter(ctx, waiter)
  call('DEL', key(ctx, 'holder', waiter.pool))
end

-- Keeps a project free for a starved waiter: the one that fits it soonest. Answers whether it found one.
function hold(ctx, pool, waiter)
  local state, at = still_held(ctx, waiter)
  if not state then
    let_go(ctx, waiter)
    local best = earliest_unheld(ctx, pool, waiter)
    if not best.id or not is_soon(ctx, best.at, best.why) then return stand_back(ctx, waiter) end
    state, at, waiter.held = ctx.states[best.id], best.at, best.id
    save_waiter(ctx, waiter)
    call('SET', key(ctx, 'holder', pool.id), waiter.lease_id)
  end
  keep_for(state, ctx.now + HOLD_MS, waiter.number)
  place(ctx, state)
  wake_by(ctx, at)
  return true
end

end

do

local LOOK_AT = 256 -- waiters looked at in one go; 1,024 take 4 ms where all are at their client's limit
local FIRST = 768 -- at the front of a line, and LOOK_AT somewhere behind

local function daemon_is_dead(ctx, daemon, alive)
  if alive[daemon] == nil then
    alive[daemon] = ctx.now - tonumber(call('GET', key(ctx, 'daemon', daemon)) or 0) <= DEAD_DAEMON_MS
  end
  return not alive[daemon]
end

-- Lets the turn of the waiter served become the queue's, which never goes back.
local function pass_turn(ctx, waiter)
  local turns = key(ctx, 'turns', waiter.pool)
  local turn = tonumber(call('ZSCORE', queue_key(ctx, waiter.pool), member_name(waiter)))
  if turn > tonumber(call('HGET', turns, '') or 0) then call('HSET', turns, '', turn) end
end

-- 'served', 'client' when its own limits hold it back, or nil when no project fits
local function try_waiter(ctx, pool, waiter)
  local client = client_state(ctx, waiter)
  local client_at = client_refusal(ctx, client, waiter)
  if client_at ~= nil then
    if client_at then wake_by(ctx, client_at) end
    return 'client'
  end
  local state = choose(ctx, pool, waiter)
  if not state then return nil end
  pass_turn(ctx, waiter)
  leave_queue(ctx, waiter)
  deliver(ctx, waiter, grant(ctx, state, waiter, client))
  return 'served'
end

local function find_waiter(ctx, lease_id)
  local bytes = call('HGET', key(ctx, 'waiter'), lease_id)
  return bytes and read_waiter(bytes)
end

-- The waiter of a place in the line; a damaged store may have lost it, and then the place goes too.
local function waiter_at(ctx, pool, brief)
  local waiter = find_waiter(ctx, brief.lease_id)
  if waiter then return waiter end
  leave_line(ctx, pool.id, brief.member, brief.lease_id)
  set_waiting(ctx, call('HLEN', key(ctx, 'waiter')))
end

-- The waiters of a pool in their order, in brief, from a place in it, and how many were looked at;
-- those whose time is over leave.
local function line(ctx, pool, from)
  local briefs, members = {}, call('ZRANGE', queue_key(ctx, pool.id), from, from + LOOK_AT - 1)
  for _, member in ipairs(members) do
    local brief = brief_of(member)
    if brief.deadline > ctx.now then
      briefs[#briefs + 1] = brief
      wake_by(ctx, brief.deadline)
    else
      local waiter = waiter_at(ctx, pool, brief)
      if waiter then leave_queue(ctx, waiter) end
    end
  end
  return briefs, #members
end

-- the lease id of the waiter that a project is kept free for, while it has time and its daemon lives
local function holder_of(ctx, pool, alive)
  local lease_id = call('GET', key(ctx, 'holder', pool.id))
  local waiter = lease_id and find_waiter(ctx, lease_id)
  if not waiter then return nil end
  if waiter.deadline > ctx.now and not daemon_is_dead(ctx, waiter.daemon, alive) then return lease_id end
  leave_queue(ctx, waiter)
end

-- Serves a waiter that fits now. found: what was learned of those before it: what is too large for
-- the pool, for the client's own limits, or to have any project kept free.
local function look_at(ctx, pool, brief, found)
  local starving = brief.since + ctx.meta.starve_ms <= ctx.now
  local holds = brief.lease_id == found.holder
    or (starving and not found.holder and not is_too_large(found.hopeless, brief))
  if not starving then wake_by(ctx, brief.since + ctx.meta.starve_ms) end
  local limited = found.limited[brief.limits]
  if not holds and (is_too_large(found.too_large, brief) or is_too_large(limited, brief)) then return end
  local waiter = waiter_at(ctx, pool, brief)
  if not waiter then return end
  if daemon_is_dead(ctx, waiter.daemon, found.alive) then return leave_queue(ctx, waiter) end
  local outcome = try_waiter(ctx, pool, waiter)
  if outcome == 'client' then
    found.limited[brief.limits] = also_too_large(limited, waiter)
    if brief.lease_id == found.holder then
      stand_back(ctx, waiter)
      found.holder = nil
    end
  elseif not outcome then
    if not waiter.held then found.too_large = also_too_large(found.too_large, waiter) end
    if holds then
      local held = hold(ctx, pool, waiter)
      found.holder = held and brief.lease_id or nil
      if not held then found.hopeless = also_too_large(found.hopeless, waiter) end
    end
  end
end

-- Whether a waiter further back may fit, though many before it do not.
local function may_fit_behind(ctx, pool, found)
  commit(ctx)
  local too_large = found.too_large and found.too_large[1]
  return some_ready(ctx, pool)
    and call('ZCOUNT', key(ctx, 'sizes', pool.id), '-inf', too_large and '(' .. integer(too_large) or '+inf') > 0
end

-- Serves the waiters between two places of a line that fit now; answers whether there are more behind
-- that may.
local function serve_part(ctx, pool, found, from, to)
  local more
  repeat
    local places = call('ZCARD', queue_key(ctx, pool.id))
    local briefs, count = line(ctx, pool, from)
    for _, brief in ipairs(briefs) do look_at(ctx, pool, brief, found) end
    from = from + count - (places - call('ZCARD', queue_key(ctx, pool.id)))
    more = count == LOOK_AT and may_fit_behind(ctx, pool, found)
  until not more or from >= to
  return more
end

-- A place behind the first, another one each time, so that every waiter's turn comes: multiples of the
-- golden ratio spread evenly, however far apart the calls are.
local function place_behind(ctx, pool)
  local behind = call('ZCARD', queue_key(ctx, pool.id)) - FIRST
  return FIRST + LOOK_AT * floor(ctx.now / 250 * 0.6180339887498949 % 1 * behind / LOOK_AT)
end

-- Serves the waiters of a pool that fit now. What is too large for one is too large for all others;
-- one at a time, the first that has waited long enough has a project kept free until it is served.
local function serve_line(ctx, pool)
  local found = { alive = {}, limited = {} }
  found.holder = holder_of(ctx, pool, found.alive)
  ctx.roomy[pool.id], ctx.looks[pool.id] = nil, (ctx.looks[pool.id] or 0) + 1
  if serve_part(ctx, pool, found, 0, FIRST) then
    local from = place_behind(ctx, pool)
    serve_part(ctx, pool, found, from, from + 1)
  end
  commit(ctx)
end

-- Serves the waiters of these pools, and of those that a project kept free is given back to: it
-- may have room for some that were tried before.
function serve(ctx, ids)
  if ctx.waiting <= 0 then return end
  look_again(ctx, ids)
  repeat
    local _, pool = next(ctx.roomy)
    if pool then serve_line(ctx, pool) end
  until not pool or ctx.waiting <= 0
end

end
