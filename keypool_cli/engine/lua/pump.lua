-- pump: bring due projects to the present, end old leases, serve waiters, hand over grants.
-- ARGV 2  {days, daemon ('' none), pools whose waiters to serve}
-- answers an array: now, next_at (0: nothing is due), waiting, a grant as in acquire for each
local function collect(ctx, daemon, answer)
  local list = key(ctx, 'grants', daemon)
  local grants = call('LRANGE', list, 0, -1)
  if #grants > 0 then call('DEL', list) end
  for _, grant_bytes in ipairs(grants) do answer[#answer + 1] = grant_bytes end
end

local function next_due(ctx)
  local at = ctx.wake_at or math.huge
  for _, name in ipairs({ 'blocked', 'stale', 'leases' }) do
    local first = call('ZRANGE', key(ctx, name), 0, 0, 'WITHSCORES')
    if first[2] then at = min(at, tonumber(first[2])) end
  end
  return at < math.huge and at or 0
end

local function pump(keys, argv)
  local ctx = open(keys, argv)
  local days, daemon, pools = unpack(ctx.args)
  set_days(ctx, days)
  if not enter(ctx) then return { ctx.now, 0, 0 } end
  sweep(ctx, 256)
  unblock(ctx, 256)
  refresh(ctx, 'stale', 256)
  if daemon ~= '' then seen_daemon(ctx, daemon) end
  serve(ctx, pools)
  -- a daemon that pumps when told to is never taken for dead
  if ctx.waiting > 0 then wake_by(ctx, ctx.now + DEAD_DAEMON_MS / 2) end
  local answer = { ctx.now, next_due(ctx), ctx.waiting }
  if daemon ~= '' then collect(ctx, daemon, answer) end
  return answer
end

-- Reads one record after another into the same table: nobody comes back to one of them, and a
-- thousand tables of so many fields are dear to make.
local function view_of(ctx, id, bytes)
  used = 0
  local state = parse_state(bytes)
  state.id = id
  advance(ctx, state)
  return view(ctx, state)
end

-- snapshot: how projects stand now.  ARGV 2  {days, projects, whether to leave out idle ones}
-- answers {now, views, revision}
local function snapshot(keys, argv)
  local ctx = open(keys, argv)
  local days, ids, busy_only = unpack(ctx.args)
  set_days(ctx, days)
  if not enter(ctx) then return cmsgpack.pack({ ctx.now, {}, -1 }) end
  sweep(ctx, 256)
  local names, views = {}, {}
  for i, id in ipairs(ids) do names[i] = key(ctx, 'state', integer(id)) end
  local found = names[1] and call('MGET', unpack(names)) or {}
  for i, bytes in ipairs(found) do
    if bytes and not (busy_only and is_idle(bytes)) then
      views[#views + 1] = view_of(ctx, integer(ids[i]), bytes)
    end
  end
  return cmsgpack.pack({ ctx.now, views, ctx.meta.revision })
end

-- explain: what acquire would do with a demand, and why each project could not take it.
-- ARGV 2  {days, pool id, projects}   3  the demand, see demand_of
-- answers {now, chosen project (0 none), {project, limit ('' fits), at (0 never)}} | {now, -1, {}}
local function explain(keys, argv)
  local ctx = open(keys, argv)
  local days, pool_id, ids = unpack(ctx.args)
  set_days(ctx, days)
  local pool = enter(ctx, pool_id)
  if not pool then return cmsgpack.pack({ ctx.now, -1, {} }) end
  sweep(ctx, 256) -- leases that are over hold no slot
  local demand, reasons, names = demand_of(argv[3]), {}, {}
  local chosen = choose(ctx, pool, demand)
  for i, id in ipairs(ids) do names[i] = integer(id) end
  get_states(ctx, names, 1)
  for _, name in ipairs(names) do
    local state = ctx.states[name]
    if state then
      advance(ctx, state)
      local at, why = fits_at(ctx, state, demand)
      reasons[#reasons + 1] = { tonumber(name), why or '', at or 0 }
    end
  end
  commit(ctx)
  return cmsgpack.pack({ ctx.now, chosen and tonumber(chosen.id) or 0, reasons })
end

redis.register_function('NAME_pump', pump)
redis.register_function('NAME_snapshot', snapshot)
redis.register_function('NAME_explain', explain)
