-- Choosing a project for a demand.
--
-- A ready set is ordered by headroom, so its top decides: if the roomiest project has no room for
-- the tokens, none of that set has. Records read by this call are newer than the set; Ready keeps
-- both in one order, reading the set only as far as needed. Where tokens alone do not decide, the
-- set is looked through, by its scores: a record is read only of a project that fits by its score.

local choose, refresh, unblock, unblock_once, is_among, member_of, only_one

do -- Lua has room for 200 local names in one scope

-- Brings projects whose instant has come to the present; answers how many.
function refresh(ctx, set, limit)
  local due = call('ZRANGE', key(ctx, set), '-inf', ctx.now, 'BYSCORE', 'LIMIT', 0, limit)
  if #due == 0 then return 0 end
  ctx.sets = ctx.sets or {}
  get_states(ctx, due, 1)
  for _, id in ipairs(due) do
    local state = ctx.states[id]
    if state then
      advance(ctx, state)
      land(ctx, state, NOTHING_MORE)
      state.stale_at = 0
      place(ctx, state)
    else
      call('ZREM', key(ctx, set), id)
    end
  end
  commit(ctx)
  return #due
end

local function ready_set(ctx, name)
  ctx.ready = ctx.ready or {}
  local ready = ctx.ready[name]
  if not ready then
    ready = { name = name, read = 0, lowest = math.huge } -- and the records read, as an array
    ctx.ready[name] = ready
  end
  return ready
end

local function read_more(ctx, ready)
  local chunk = max(ctx.chunk or 1, ready.read) -- doubles: mostly the first is the one
  local found = call('ZRANGE', ready.name, ready.read, ready.read + chunk - 1, 'REV', 'WITHSCORES')
  get_states(ctx, found, 2)
  for i = 1, #found, 2 do
    local state = ctx.states[found[i]]
    if state then
      advance(ctx, state)
      ready[#ready + 1] = state
      ready.lowest = tonumber(found[i + 1])
    end
  end
  ready.read = ready.read + #found / 2
  if #found < 2 * chunk then ready.lowest = -1 end
end

local function roomiest(ready)
  local best, best_score = nil, 0
  for i = 1, #ready do
    local state = ready[i]
    local score = state.score
    if score > best_score then best, best_score = state, score end
  end
  return best, best_score
end

-- The top of a set this call has read nothing of; mostly it is the one.
local function top(ctx, ready, demand)
  if ctx.chunk ~= 1 then return nil end
  for i = 1, #ctx.order do
    if not ctx.order[i].is_client then return nil end
  end
  local id = call('ZRANGE', ready, 0, 0, 'REV')[1]
  local state = id and get_state(ctx, id)
  if not state then return nil end
  advance(ctx, state)
  if not refusal(ctx, state, demand) then return state end
end

-- The next projects of a set that have the tokens, and their scores: most headroom first, or least.
local function page_of(name, count, seen, packs)
  local last = min(seen + min(max(seen, 2), PAGE), count) - 1
  if packs then return call('ZRANGE', name, seen - count, last - count, 'WITHSCORES') end
  return call('ZRANGE', name, seen, last, 'REV', 'WITHSCORES')
end

local function look_through(ctx, name, demand, packs)
  commit(ctx) -- the set must know what this call has booked
  local count, seen = call('ZCOUNT', name, demand.tokens * 4096 + 1, '+inf'), 0
  while seen < min(count, MOST_PASSED) do
    local found = page_of(name, count, seen, packs)
    for i = 1, #found, 2 do
      local id = found[i]
      if found[i + 1] % 4096 >= demand.requests and not (demand.avoid and avoids(demand, id)) then
        local state = get_state(ctx, id)
        if state then
          advance(ctx, state)
          if not refusal(ctx, state, demand) then return state end
        end
      end
    end
    seen = seen + #found / 2
  end
end

-- most headroom first
local function most_headroom(ctx, name, demand)
  local ready = ready_set(ctx, name)
  while true do
    local best, score = roomiest(ready)
    if score < ready.lowest then
      read_more(ctx, ready)
    else
      if not best or not refusal(ctx, best, demand) then return best end
      -- the top lacks tokens: so do all below it, as far as the set is up to date
      if best.tokens + demand.tokens > best.limit_tokens then return nil end
      return look_through(ctx, name, demand, false)
    end
  end
end

local function spread(ctx, name, demand)
  return top(ctx, name, demand) or most_headroom(ctx, name, demand)
end

-- least headroom that fits
local function pack(ctx, name, demand)
  return look_through(ctx, name, demand, true)
end

function is_among(pools, pool)
  for _, id in ipairs(pools) do
    if id == pool then return true end
  end
  return false
end

function member_of(state, pool)
  return is_among(state.pools, pool)
end

local function by_id(ctx, pool, id, demand)
  local state = get_state(ctx, id)
  if not state or not member_of(state, pool.id) then return nil end
  advance(ctx, state)
  land(ctx, state, demand) -- one kept free for this demand is not looked at for its leases
  if not refusal(ctx, state, demand) then return state end
end

-- Brings blocked projects that may be ready to the present; answers how many.
function unblock(ctx, limit)
  if ctx.opens_at > ctx.now then return 0 end
  local count = refresh(ctx, 'blocked', limit)
  local first = call('ZRANGE', key(ctx, 'blocked'), 0, 0, 'WITHSCORES')
  set_due(ctx, tonumber(first[2] or FAR))
  return count
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

-- Whether a set was read and has nothing; then no score that lags behind can be in it.
local function is_empty(ctx, name)
  local ready = ctx.ready and ctx.ready[name]
  return ready and ready.lowest == -1 and ready.read == 0
end

-- What is found is right, for scores only lag behind headroom; what is not may still be there.
local function by_policy(ctx, pool, demand)
  local policy = pool.policy == 1 and pack or spread
  for i = 1, pool.count do
    local name = ready_key(ctx, pool.id, pool.priorities[i])
    repeat
      local state = policy(ctx, name, demand)
      if state then return state end
    until is_empty(ctx, name) or not freshen(ctx)
  end
end

-- After an idle time very many projects are due at once: a call brings 1,024 up to date and leaves
-- ctx.tired.
function unblock_once(ctx)
  if ctx.due then return end
  ctx.due = unblock(ctx, MOST_DUE)
  ctx.tired = ctx.tired or ctx.due >= MOST_DUE
end

-- the id of the one project that the demand may get, if there is but one
function only_one(demand)
  return demand.avoid and string.match(demand.avoid, '^=,(%d+),$')
end

-- The project that takes the demand now, or nil when none of the pool can.
function choose(ctx, pool, demand)
  unblock_once(ctx)
  local only = only_one(demand)
  if only then return by_id(ctx, pool, only, demand) end
  return demand.affinity ~= '' and by_id(ctx, pool, demand.affinity, demand) or by_policy(ctx, pool, demand)
end

end
