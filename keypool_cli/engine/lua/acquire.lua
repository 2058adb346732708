-- acquire: choose a project for each demand and reserve on it, park it, or say when one will fit.
--
-- ARGV 2  {days, revision, pool id, most waiters}   3…  demands, see demand_of
-- answers struct ANSWER and for each demand its struct LEASE, or a struct RESULT; or nothing but the
-- LEASE of its one demand

-- equal demands of one batch are told the same, until one of them is granted
local function told_earliest(ctx, pool, demand)
  local name = demand.requests .. '/' .. demand.tokens .. '/' .. (demand.avoid or '')
  ctx.told = ctx.told or {}
  local told = ctx.told[name]
  if not told then
    local best = earliest(ctx, pool, demand)
    local project = not best.not_before and best.id or 0
    told = { at = best.not_before or best.at or 0, why = best.why or 'none', project = tonumber(project) }
    ctx.told[name] = told
  end
  return told
end

local function refused(ctx, pool, demand, client_at)
  if client_at == false then return { at = 0, why = 'client', project = 0 } end
  if ctx.tired then return { at = -1, why = 'rpm', project = 0 } end
  local own = client_at and { at = client_at, why = 'client', project = 0 }
  if own and choose(ctx, pool, demand) then return own end
  local told = told_earliest(ctx, pool, demand)
  if own and told.at > 0 and client_at >= told.at then return own end
  return told
end

local function refusal_of(told, why)
  return result_of(0, told.project, told.at, why or told.why)
end

-- Puts a demand in the queue, unless that is full or nothing will ever take the demand.
local function park(ctx, pool, demand, client_at, most_waiting)
  if call('ZCARD', queue_key(ctx, pool.id)) >= most_waiting then
    return refusal_of(refused(ctx, pool, demand, client_at), 'queue')
  end
  local possible = ctx.tired or (client_at and choose(ctx, pool, demand)) or may_ever(ctx, pool, demand)
  if not possible then return result_of(0, 0, 0, 'none') end
  enqueue(ctx, pool, demand)
  return result_of(2, 0, 0, '')
end

-- What was too large for one demand of this call is too large for the next.
local function first_choice(ctx, pool, demand)
  if demand.affinity == '' and is_too_large(ctx.too_large, demand) then return nil end
  local state = choose(ctx, pool, demand)
  if not state then ctx.too_large = also_too_large(ctx.too_large, demand) end
  return state
end

local demand_before -- its table is the next one's: what waits is kept in the store only

local function settle_demand(ctx, pool, demand, most_waiting)
  local client = client_state(ctx, demand)
  local client_at = client_refusal(ctx, client, demand)
  local state = client_at == nil and first_choice(ctx, pool, demand)
  if state then return grant(ctx, state, demand, client) end
  if demand.deadline > ctx.now and client_at ~= false then
    return park(ctx, pool, demand, client_at, most_waiting)
  end
  return refusal_of(refused(ctx, pool, demand, client_at))
end

-- The answer of a call that granted its one demand the quick way.
local function only_lease(ctx, lease)
  write_gathered(ctx)
  if ctx.tidy then sweep(ctx, 64) else ctx.clean = ctx.due == 0 and not ctx.roomy end
  return lease
end

local function acquire_each(ctx, pool, argv, most_waiting)
  local results, granted = { pack_bytes(ANSWER.layout, 1, ctx.now, ctx.meta.revision) }, 0
  if ctx.chunk > 1 then granted = quick_grants(ctx, pool, argv, results) end
  if granted > 0 and granted < ctx.chunk then commit(ctx) end
  for i = 3 + granted, #argv do
    demand_before = demand_of(argv[i], demand_before)
    results[i - 1] = settle_demand(ctx, pool, demand_before, most_waiting)
  end
  commit(ctx)
  if ctx.tidy then sweep(ctx, 64) end
  -- an array costs many times as much
  return table.concat(results)
end

local function acquire_anew(ctx, argv, meta_bytes)
  begin_anew(ctx)
  local days, revision, pool_id, most_waiting = unpack(ctx.args)
  set_days(ctx, days)
  local pool = enter(ctx, pool_id, meta_bytes)
  if not pool or ctx.meta.revision < revision then
    return pack_bytes(ANSWER.layout, 0, ctx.now, ctx.meta and ctx.meta.revision or 0)
  end
  expect(ctx, pool, meta_bytes)
  ctx.chunk = #argv - 2
  if ctx.chunk > 1 then ctx.sets = {} end
  if ctx.waiting > 0 then serve(ctx, { pool_id }) end
  if ctx.chunk == 1 then
    local lease = may_be_quick(ctx, pool) and quick_grant(ctx, argv[3])
    if lease then return only_lease(ctx, lease) end
  end
  return acquire_each(ctx, pool, argv, most_waiting)
end

local function acquire(keys, argv)
  local ctx, meta_bytes, is_usual = open_again(keys[1], argv)
  local lease = is_usual and quick_grant(ctx, argv[3])
  if not lease then return acquire_anew(ctx, argv, meta_bytes) end
  if ctx.tidy then
    go_on(ctx)
    sweep(ctx, 64)
  end
  return lease
end

redis.register_function('NAME_acquire', acquire)
