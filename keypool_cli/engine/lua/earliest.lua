-- When the first project of a pool will take a demand that none takes now.

local earliest

do -- Lua has room for 200 local names in one scope

-- Notes when a project takes the demand, if that is the earliest so far.
local function note(ctx, state, demand, best)
  advance(ctx, state)
  local at, why = fits_at(ctx, state, demand)
  if at and (not best.at or at < best.at) then best.at, best.why, best.id = at, why, state.id end
end

-- Projects of the pool whose window, cooldown or day changes soonest come first: an instant can not
-- lie before the project's next change, so the search ends when the best found is earlier. After
-- LOOK projects it ends too, and answers the instant it came to: nobody knows what is behind.
local function earliest_in(ctx, set, pool, demand, best)
  local seen, page, opens = 0, 2, 0
  while seen < LOOK do
    local found = call('ZRANGE', key(ctx, set), seen, seen + page - 1, 'WITHSCORES')
    get_states(ctx, found, 2)
    for i = 1, #found, 2 do
      opens = tonumber(found[i + 1])
      if best.at and (best.any or opens >= best.at) then return nil end
      local state = ctx.states[found[i]]
      if state and member_of(state, pool.id) then note(ctx, state, demand, best) end
    end
    if #found < 2 * page then return nil end
    seen, page = seen + page, seen + page
  end
  return max(opens, ctx.now + 1)
end

-- Whether every project of the pool could be looked at: it has few.
local function earliest_of_few(ctx, pool, demand, best)
  local name = key(ctx, 'members', pool.id)
  if call('SCARD', name) > LOOK then return false end
  local ids = call('SMEMBERS', name)
  get_states(ctx, ids, 1)
  for _, id in ipairs(ids) do
    if ctx.states[id] then note(ctx, ctx.states[id], demand, best) end
  end
  return true
end

-- {at, why, id} of the earliest instant some project of the pool takes the demand; {} when none
-- ever will. Of a large pool it is without id, and only not too late, where many other projects come
-- first. any: whatever instant is found first will do.
function earliest(ctx, pool, demand, any)
  local best = { any = any }
  commit(ctx) -- the sets must know what this call has booked
  local opens = earliest_in(ctx, 'blocked', pool, demand, best)
  local grows = earliest_in(ctx, 'stale', pool, demand, best)
  if not (opens or grows) or any and best.at or earliest_of_few(ctx, pool, demand, best) then return best end
  if not best.at then best.at, best.why = min(opens or FAR, grows or FAR), 'rpm' end
  return best
end

end
