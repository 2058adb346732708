-- Choosing a project for a demand.
--
-- A ready set is ordered by headroom, so its top decides: if the roomiest project has no room for
-- the tokens, none of that set has. Records read by this call are newer than the set; Ready keeps
-- both in one order, reading the set only as far as needed.

local MOST_DUE = 1024 -- projects one call brings to the present before it gives up

-- The leases of a project at its in-flight limit may be over, though nobody ended them yet.
local function land(ctx, state)
  if refusal(ctx, state, NOTHING_MORE) ~= 'in_flight' then return end
  if end_due(ctx, key(ctx, 'flight', state.id), 64) == 0 then sweep(ctx, 64) end
end

-- Brings projects whose instant has come to the present; answers how many.
local function refresh(ctx, set, limit)
  local due = redis.call('ZRANGE', key(ctx, set), '-inf', integer(ctx.now), 'BYSCORE', 'LIMIT', 0, limit)
  if #due == 0 then return 0 end
  get_states(ctx, due)
  for _, id in ipairs(due) do
    local state = ctx.states[id]
    if state then
      advance(ctx, state)
      land(ctx, state)
      state.stale_at = 0
      place(ctx, state)
    else
      redis.call('ZREM', key(ctx, set), id)
    end
  end
  commit(ctx)
  return #due
end

local function ready_set(ctx, pool, priority)
  local name = ready_key(ctx, pool, priority)
  ctx.ready = ctx.ready or {}
  local ready = ctx.ready[name]
  if not ready then
    ready = { name = name, members = {}, read = 0, lowest = math.huge }
    ctx.ready[name] = ready
  end
  return ready
end

local function read_more(ctx, ready)
  local chunk = max(1, ctx.chunk or 0)
  local found = redis.call('ZRANGE', ready.name, ready.read, ready.read + chunk - 1, 'REV', 'WITHSCORES')
  local ids = {}
  for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
  get_states(ctx, ids)
  for i, id in ipairs(ids) do
    local state = ctx.states[id]
    if state then
      advance(ctx, state)
      ready.members[#ready.members + 1] = state
      ready.lowest = tonumber(found[2 * i])
    end
  end
  ready.read = ready.read + #ids
  if #ids < chunk then ready.lowest = -1 end
end

local function roomiest(ready, passed)
  local best, best_score = nil, 0
  for _, state in ipairs(ready.members) do
    if state.score > best_score and not passed[state.id] then best, best_score = state, state.score end
  end
  return best, best_score
end

-- most headroom first
local function spread(ctx, ready, demand)
  local passed = {}
  for _ = 1, BUDGET do
    local best, score = roomiest(ready, passed)
    if score < ready.lowest then
      read_more(ctx, ready)
    else
      if not best then return nil end
      if not refusal(ctx, best, demand) then return best end
      -- the top lacks tokens: so do all below it, as far as the set is up to date
      if best.tokens + demand.tokens > best.limit_tokens then return nil end
      passed[best.id] = true
    end
  end
end

-- least headroom that fits
local function pack(ctx, ready, demand)
  commit(ctx)
  local from = integer(demand.tokens * 4096 + 1)
  for offset = 0, BUDGET, 16 do
    local ids = redis.call('ZRANGE', ready.name, from, '+inf', 'BYSCORE', 'LIMIT', offset, 16)
    get_states(ctx, ids)
    for _, id in ipairs(ids) do
      local state = ctx.states[id]
      if state then
        advance(ctx, state)
        if not refusal(ctx, state, demand) then return state end
      end
    end
    if #ids < 16 then return nil end
  end
end

local function member_of(state, pool)
  for _, id in ipairs(state.pools) do
    if id == pool then return true end
  end
  return false
end

local function by_affinity(ctx, pool, demand)
  local id = demand.affinity
  if not id or id == '' then return nil end
  local state = get_state(ctx, id)
  if not state or not member_of(state, pool.id) then return nil end
  advance(ctx, state)
  if not refusal(ctx, state, demand) then return state end
end

-- true when some scores have changed, so that a look at the ready sets may find more
local function freshen(ctx)
  if ctx.fresh then return false end
  local count = refresh(ctx, 'stale', 64)
  ctx.due = ctx.due + count
  if count < 64 then
    ctx.fresh = true
  elseif ctx.due >= MOST_DUE then
    ctx.fresh, ctx.tired = true, true
  end
  return count > 0
end

-- What is found is right, for scores only lag behind headroom; what is not may still be there.
local function by_policy(ctx, pool, demand)
  local policy = pool.policy == 1 and pack or spread
  for _, priority in ipairs(pool.priorities) do
    repeat
      local state = policy(ctx, ready_set(ctx, pool.id, priority), demand)
      if state then return state end
    until not freshen(ctx)
  end
end

-- The project that takes the demand now, or nil when none of the pool can. After an idle time very
-- many projects are due at once: a call brings 1,024 up to date and leaves ctx.tired.
local function choose(ctx, pool, demand)
  if not ctx.due then
    ctx.due = refresh(ctx, 'blocked', MOST_DUE)
    ctx.tired = ctx.due >= MOST_DUE
  end
  return by_affinity(ctx, pool, demand) or by_policy(ctx, pool, demand)
end

-- Projects of the pool whose window, cooldown or day changes soonest come first: an instant can
-- not lie before the project's next change, so the search ends when the best found is earlier.
local function earliest_in(ctx, set, pool, demand, best)
  local opens = 0
  for seen = 0, BUDGET - 1, 16 do
    local found = redis.call('ZRANGE', key(ctx, set), seen, seen + 15, 'WITHSCORES')
    local ids = {}
    for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
    get_states(ctx, ids)
    for i, id in ipairs(ids) do
      opens = tonumber(found[2 * i])
      if best.at and opens >= best.at then return end
      local state = ctx.states[id]
      if state and member_of(state, pool.id) then
        advance(ctx, state)
        local at, why = fits_at(ctx, state, demand)
        if at and (not best.at or at < best.at) then best.at, best.why, best.id = at, why, id end
      end
    end
    if #ids < 16 then return end
  end
  -- too many to look at: it is no earlier than this
  if not best.at then best.at, best.why = max(opens, ctx.now + 1), 'rpm' end
end

-- {at, why, id} of the earliest instant some project of the pool takes the demand; {} when none ever will
local function earliest(ctx, pool, demand)
  local best = {}
  commit(ctx) -- the sets must know what this call has booked
  earliest_in(ctx, 'blocked', pool, demand, best)
  earliest_in(ctx, 'stale', pool, demand, best)
  return best
end
