-- acquire: choose a project for each demand and reserve on it, park it, or say when one will fit.
--
-- ARGV 2  {days, revision, pool id, most waiters, demands}
--         demand {lease id, requests, tokens, ttl ms, client (0 none), client's rpm, client's tpm
--         (-1 none), project preferred ('' none), deadline (0: does not wait), daemon,
--         projects it must not get: ',1,2,' ('' none)}
-- answers {'ok', now, revision, results} | {'stale', now, revision}: load this model first
--         result {1, lease id, project, key, granted_at, expires_at}
--              | {0, retry_at, limit, project}   retry_at 0: never, -1: ask again at once
--              | {2}                             it waits

-- equal demands of one batch are told the same, until one of them is granted
local function told_earliest(ctx, pool, demand)
  local name = demand.requests .. '/' .. demand.tokens .. '/' .. (demand.avoid or '')
  ctx.told = ctx.told or {}
  local told = ctx.told[name]
  if not told then
    local best = earliest(ctx, pool, demand)
    told = { 0, best.at or 0, best.why or 'none', tonumber(best.id or 0) }
    ctx.told[name] = told
  end
  return told
end

local function refused(ctx, pool, demand, client_at)
  if client_at == false then return { 0, 0, 'client', 0 } end
  if ctx.tired then return { 0, -1, 'rpm', 0 } end
  if client_at and choose(ctx, pool, demand) then return { 0, client_at, 'client', 0 } end
  local told = told_earliest(ctx, pool, demand)
  if client_at and told[2] > 0 and client_at >= told[2] then return { 0, client_at, 'client', 0 } end
  return told
end

-- Puts a demand in the queue, unless that is full or nothing will ever take the demand.
local function park(ctx, pool, demand, client_at, most_waiting)
  if redis.call('ZCARD', queue_key(ctx, pool.id)) >= most_waiting then
    local told = refused(ctx, pool, demand, client_at)
    return { 0, told[2], 'queue', told[4] }
  end
  local possible = ctx.tired or (client_at and choose(ctx, pool, demand)) or earliest(ctx, pool, demand, true).at
  if not possible then return { 0, 0, 'none', 0 } end
  enqueue(ctx, pool, demand)
  return { 2 }
end

-- What was too large for one demand of this call is too large for the next.
local function first_choice(ctx, pool, demand)
  local comparable = demand.requests == 1 and not demand.avoid
  if comparable and demand.affinity == '' and ctx.too_large and demand.tokens >= ctx.too_large then return nil end
  local state = choose(ctx, pool, demand)
  if not state and comparable then ctx.too_large = min(ctx.too_large or math.huge, demand.tokens) end
  return state
end

local function settle_demand(ctx, pool, demand, most_waiting)
  local client = client_state(ctx, demand)
  local client_at = client_refusal(ctx, client, demand)
  local state = client_at == nil and first_choice(ctx, pool, demand)
  if state then return grant(ctx, state, demand, client) end
  if demand.deadline > ctx.now and client_at ~= false then
    return park(ctx, pool, demand, client_at, most_waiting)
  end
  return refused(ctx, pool, demand, client_at)
end

local function acquire(keys, argv)
  local ctx = open(keys, argv)
  local days, revision, pool_id, most_waiting, demands = unpack(ctx.args)
  set_days(ctx, days)
  local pool = enter(ctx, pool_id)
  if not pool or ctx.meta.revision < revision then
    return cmsgpack.pack({ 'stale', ctx.now, ctx.meta and ctx.meta.revision or 0 })
  end
  ctx.chunk = #demands
  serve(ctx, pool)
  local results = {}
  for i, array in ipairs(demands) do
    results[i] = settle_demand(ctx, pool, demand_of(array), most_waiting)
  end
  commit(ctx)
  if ctx.tidy then sweep(ctx, 64) end
  return cmsgpack.pack({ 'ok', ctx.now, ctx.meta.revision, results })
end

redis.register_function('NAME_acquire', acquire)
