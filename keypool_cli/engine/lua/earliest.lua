-- When the first project of a pool will take a demand that none takes now.

local earliest, earliest_unheld, may_ever, some_ready

do -- Lua has room for 200 local names in one scope

-- Notes when a project takes the demand, if that is the earliest so far.
local function note(ctx, state, demand, best)
  advance(ctx, state)
  if best.unheld and state.held_by ~= 0 then return end
  local at, why = fits_at(ctx, state, demand)
  if at and (not best.at or at < best.at) then best.at, best.why, best.id = at, why, state.id end
end

local function note_all(ctx, ids, pool, demand, best)
  get_states(ctx, ids, 1)
  for _, id in ipairs(ids) do
    local state = ctx.states[id]
    if state and member_of(state, pool.id) then note(ctx, state, demand, best) end
  end
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

-- Looks at every project of the pool, if it has few; of many, at some where none has been found yet.
-- Answers whether that were all.
local function earliest_of_members(ctx, pool, demand, best)
  local name = key(ctx, 'members', pool.id)
  local few = call('SCARD', name) <= LOOK
  if few then
    note_all(ctx, call('SMEMBERS', name), pool, demand, best)
  elseif not best.at then
    note_all(ctx, call('SRANDMEMBER', name, LOOK), pool, demand, best)
  end
  return few
end

-- Whether a project of the pool has some room; else none of them is stale either.
function some_ready(ctx, pool)
  for i = 1, pool.count do
    if call('EXISTS', ready_key(ctx, pool.id, pool.priorities[i])) == 1 then return true end
  end
  return false
end

local function search(ctx, pool, demand, best)
  commit(ctx) -- the sets must know what this call has booked
  local only = only_one(demand)
  if only then
    note_all(ctx, { only }, pool, demand, best)
    return best
  end
  local opens = earliest_in(ctx, 'blocked', pool, demand, best)
  local grows = some_ready(ctx, pool) and earliest_in(ctx, 'stale', pool, demand, best)
  if not (opens or grows) or best.any and best.at or earliest_of_members(ctx, pool, demand, best) then return best end
  local not_before = min(opens or FAR, grows or FAR)
  if not best.at or not_before < best.at then best.not_before, best.why = not_before, best.why or 'rpm' end
  return best
end

-- {at, why, id} of the earliest instant some project of the pool takes the demand; {} when none
-- ever will. not_before: others of a large pool may take it before, but not before this instant:
-- many other projects come first.
function earliest(ctx, pool, demand)
  return search(ctx, pool, demand, {})
end

-- The same of projects that are kept free for nobody.
function earliest_unheld(ctx, pool, demand)
  return search(ctx, pool, demand, { unheld = true })
end

-- Whether a project of the pool will ever take the demand, as far as it is known.
function may_ever(ctx, pool, demand)
  local best = search(ctx, pool, demand, { any = true })
  return best.at or best.not_before
end

end
