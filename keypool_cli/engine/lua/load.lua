-- load: what the registry says of projects on this model; windows and leases stay.
-- ARGV 2  {days, meta {window, guard, starve, all ms}, projects}
--         project {id, rpm, tpm, rpd, in flight (-1 unlimited), flags, priority, keys, pools,
--                  cool_until, cool_granted_at, wide_until, wide_granted_at, reset_at,
--                  day requests, utc requests (both only for a state that is new)}
-- answers {now, count}

local function limit_of(value)
  return value < 0 and UNLIMITED or value
end

local function leave_ready_sets(ctx, state)
  if state.was_score == 0 then return end
  for _, pool in ipairs(state.pools) do
    call('ZREM', ready_key(ctx, pool, state.priority), state.id)
  end
  state.was_score = 0
end

local function same_pools(state, pools)
  if #state.pools ~= #pools then return false end
  for i, pool in ipairs(pools) do
    if state.pools[i] ~= pool then return false end
  end
  return true
end

local function leave_pools(ctx, state)
  for _, pool in ipairs(state.pools) do call('SREM', key(ctx, 'members', pool), state.id) end
end

local function configure(ctx, state, project)
  local _, rpm, tpm, rpd, in_flight, flags, priority, key_ids, pools = unpack(project)
  local moves = not same_pools(state, pools)
  if moves or state.priority ~= priority then leave_ready_sets(ctx, state) end
  if moves then
    leave_pools(ctx, state)
    for _, pool in ipairs(pools) do call('SADD', key(ctx, 'members', pool), state.id) end
  end
  set(state, 'limit_requests', limit_of(rpm))
  set(state, 'limit_tokens', limit_of(tpm))
  set(state, 'limit_day', limit_of(rpd))
  set(state, 'limit_in_flight', limit_of(in_flight))
  if state.limit_in_flight == UNLIMITED then call('DEL', key(ctx, 'flight', state.id)) end
  set(state, 'flags', flags)
  set(state, 'priority', priority)
  set(state, 'key_count', #key_ids)
  set(state, 'pool_count', #pools)
  set(state, 'pools', pools)
  state.keys = pack_ids(key_ids)
  size_ring(ctx, state)
end

-- A cooldown that a later reset cleared does not come back. A reset that was not heard of here, as
-- while this node was away, leaves what SQL still knows, and the wait after a loss, which it does not.
local function restore_cooldowns(ctx, state, project)
  if project[14] > state.reset_at then
    local rebuilt = tonumber(call('GET', key(ctx, 'rebuilt')) or 0)
    set(state, 'cool_until', min(state.cool_until, rebuilt))
    set(state, 'wide_until', 0)
  end
  set(state, 'reset_at', max(state.reset_at, project[14]))
  if project[11] > state.reset_at then set(state, 'cool_until', max(state.cool_until, project[10])) end
  if project[13] > state.reset_at then set(state, 'wide_until', max(state.wide_until, project[12])) end
end

local function new_state(ctx, id, project)
  local state = remember(ctx, id, blank(ctx.now))
  state.was_score, state.was_blocked_at, state.was_stale_at = 0, 0, 0
  advance(ctx, state)
  state.day_requests, state.utc_requests = project[15], project[16]
  return state
end

local function configure_all(ctx, projects)
  local ids = {}
  for i, project in ipairs(projects) do ids[i] = integer(project[1]) end
  ctx.sets = {}
  get_states(ctx, ids, 1)
  for i, project in ipairs(projects) do
    local state = ctx.states[ids[i]] or new_state(ctx, ids[i], project)
    advance(ctx, state)
    configure(ctx, state, project)
    restore_cooldowns(ctx, state, project)
    place(ctx, state)
  end
  commit(ctx)
  ctx.sets = nil
  if #ids > 0 then call('SADD', key(ctx, 'members'), unpack(ids)) end
end

local function load_projects(keys, argv)
  local ctx = open(keys, argv)
  local days, meta, projects = unpack(ctx.args)
  set_days(ctx, days)
  enter(ctx)
  ctx.window_ms, ctx.guard_ms = meta[1], meta[2]
  configure_all(ctx, projects)
  return cmsgpack.pack({ ctx.now, #projects })
end

-- unload: projects that are no longer configured.  ARGV 2  {projects}   answers {now}
--
-- Their open leases are no longer counted, lest they be taken off a state that is loaded anew.
local function forget_leases(ctx, gone)
  for _, name in ipairs(call('ZRANGE', key(ctx, 'leases'), 0, -1)) do
    local project, lease_id = string.match(name, '^(%d+):(.*)$')
    local bytes = gone[project] and read_lease(ctx, lease_id)
    if gone[project] then call('ZREM', key(ctx, 'leases'), name) end
    if bytes then
      local lease = LEASE.decode(bytes)
      lease.id, lease.status = lease_id, 'x'
      save_lease(ctx, lease)
    end
  end
end

local function remove_all(ctx, projects)
  local gone = {}
  for _, number in ipairs(projects) do
    local id = integer(number)
    gone[id] = true
    local state = get_state(ctx, id)
    if state then
      leave_ready_sets(ctx, state)
      leave_pools(ctx, state)
    end
    call('ZREM', key(ctx, 'blocked'), id)
    call('ZREM', key(ctx, 'stale'), id)
    call('DEL', key(ctx, 'state', id), key(ctx, 'ring', id), key(ctx, 'flight', id))
    call('SREM', key(ctx, 'members'), id)
  end
  if #projects > 0 then forget_leases(ctx, gone) end
end

local function unload(keys, argv)
  local ctx = open(keys, argv)
  remove_all(ctx, ctx.args[1])
  return cmsgpack.pack({ ctx.now })
end

-- seal: the projects are loaded as of a revision; grants may begin.
-- ARGV 2  {days, revision, only_from, {window, guard, starve}, pools {id, policy, priorities}, epoch}
--         only_from: -1, or the revision it must have now: else something else changed as well
-- answers {now, sealed}
local function seal_and_serve(ctx, revision, times, pools, epoch)
  local parts, ids = { META.encode({
    layout = LAYOUT, waiting = call('HLEN', key(ctx, 'waiter')), opens_at = 0, revision = revision,
    window_ms = times[1], guard_ms = times[2], starve_ms = times[3],
  }) }, {}
  for i, pool in ipairs(pools) do
    local id, policy, priorities = unpack(pool)
    ids[i] = id
    parts[#parts + 1] = POOL.encode({ id = id, policy = policy, count = #priorities })
      .. (#priorities > 0 and pack_bytes('<' .. rep('i4', #priorities), unpack(priorities)) or '')
  end
  call('MSET', key(ctx, 'meta'), table.concat(parts), key(ctx, 'epoch'), epoch)
  call('SET', key(ctx, 'clock'), '', 'PXAT', CLOCK_ENDS)
  enter(ctx)
  serve(ctx, ids)
end

local function seal(keys, argv)
  local ctx = open(keys, argv)
  local days, revision, only_from, times, pools, epoch = unpack(ctx.args)
  set_days(ctx, days)
  local entered = enter(ctx)
  if only_from >= 0 and not (entered and ctx.meta.revision == only_from) then
    return cmsgpack.pack({ ctx.now, false })
  end
  if entered and ctx.meta.revision > revision then return cmsgpack.pack({ ctx.now, false }) end
  seal_and_serve(ctx, revision, times, pools, epoch)
  return cmsgpack.pack({ ctx.now, true })
end

-- amend: load, unload and seal in one, on a model that has missed no other change and that nobody
-- is loading, lest older words of theirs be written over these.
-- ARGV 2  {days, revision before, revision, {window, guard, starve}, projects as load takes them,
--          projects gone, pools as seal takes them}
-- answers {now, whether it was done, how many wait}
local function amend(keys, argv)
  local ctx = open(keys, argv)
  local days, before, revision, times, projects, gone, pools = unpack(ctx.args)
  set_days(ctx, days)
  local epoch = call('GET', key(ctx, 'epoch'))
  local ours = epoch and call('EXISTS', key(ctx, 'loading')) == 0 and enter(ctx)
  if not ours or ctx.meta.revision ~= before then return cmsgpack.pack({ ctx.now, false, 0 }) end
  ctx.window_ms, ctx.guard_ms = times[1], times[2]
  configure_all(ctx, projects)
  remove_all(ctx, gone)
  ctx.states, ctx.order = {}, {} -- what was removed is not written again
  seal_and_serve(ctx, revision, times, pools, epoch)
  return cmsgpack.pack({ ctx.now, true, ctx.waiting })
end

redis.register_function('NAME_load', load_projects)
redis.register_function('NAME_unload', unload)
redis.register_function('NAME_seal', seal)
redis.register_function('NAME_amend', amend)

-- adopt: what was booked under another name of this model counts here too, as of now.
-- ARGV 2  {days, bookings}   booking {project, requests, tokens, day requests, utc requests}
-- answers {now}
local function adopt(keys, argv)
  local ctx = open(keys, argv)
  local days, bookings = unpack(ctx.args)
  set_days(ctx, days)
  if not enter(ctx) then return cmsgpack.pack({ ctx.now }) end
  for _, booking in ipairs(bookings) do
    local id, requests, tokens, day_requests, utc_requests = unpack(booking)
    local state = get_state(ctx, integer(id))
    if state then
      advance(ctx, state)
      if requests > 0 then book(ctx, state, requests, tokens) end
      state.day_requests = state.day_requests + day_requests - requests
      state.utc_requests = state.utc_requests + utc_requests - requests
      place(ctx, state)
    end
  end
  commit(ctx)
  return cmsgpack.pack({ ctx.now })
end

redis.register_function('NAME_adopt', adopt)

-- A model that nobody has used for long is forgotten by whoever has the right to load it (token):
-- over, leave, over again, then forget as often as it takes. From leave on nothing is granted until
-- the model is loaded anew. Should it end half-way, the mark before the epoch says that nothing is
-- lost. Each call looks whether the right is still the caller's.

-- over: whether nothing known of these counts any more.
-- ARGV 2  {days, untouched since, {window, guard, starve}, states: ids of projects, 'c' + ids of clients}
-- answers {now, over}
local function is_over(ctx, id, bytes, since)
  used = 0
  local state = parse_state(bytes)
  local touched_at = state.touched_at
  state.id = id
  advance(ctx, state)
  return touched_at <= since and state.requests == 0 and state.day_requests == 0 and state.utc_requests == 0
    and state.in_flight == 0 and cooled_until(state) <= ctx.now and state.held_until == 0
end

local function over(keys, argv)
  local ctx = open(keys, argv)
  local days, since, times, states = unpack(ctx.args)
  set_days(ctx, days)
  ctx.window_ms, ctx.guard_ms = times[1], times[2]
  if enter(ctx) then sweep(ctx, 1000) end
  local names = {}
  for i, id in ipairs(states) do names[i] = key(ctx, 'state', id) end
  local found = names[1] and call('MGET', unpack(names)) or {}
  for i, bytes in ipairs(found) do
    if bytes and not is_over(ctx, states[i], bytes, since) then return cmsgpack.pack({ ctx.now, false }) end
  end
  return cmsgpack.pack({ ctx.now, true })
end

local function is_loader(ctx, token)
  return call('GET', key(ctx, 'loading')) == token
end

-- leave: grant no more, if no lease is open and nobody waits.
-- ARGV 2  {token, the mark}   answers {now, done}
local function leave(keys, argv)
  local ctx = open(keys, argv)
  local token, mark = unpack(ctx.args)
  local epoch = call('GET', key(ctx, 'epoch')) or ''
  local busy = call('HLEN', key(ctx, 'waiter')) > 0 or call('ZCARD', key(ctx, 'leases')) > 0
  if busy or not is_loader(ctx, token) then return cmsgpack.pack({ ctx.now, false }) end
  if sub(epoch, 1, #mark) ~= mark then call('SET', key(ctx, 'epoch'), mark .. epoch) end
  call('DEL', key(ctx, 'meta'))
  return cmsgpack.pack({ ctx.now, true })
end

-- forget: after leave.  ARGV 2  {token, projects, names of other keys}   answers {now, done}
local function forget(keys, argv)
  local ctx = open(keys, argv)
  local token, projects, names = unpack(ctx.args)
  if not is_loader(ctx, token) or call('EXISTS', key(ctx, 'meta')) == 1 then
    return cmsgpack.pack({ ctx.now, false })
  end
  remove_all(ctx, projects)
  for _, name in ipairs(names) do call('DEL', ctx.tag .. ':' .. name) end
  return cmsgpack.pack({ ctx.now, true })
end

redis.register_function('NAME_over', over)
redis.register_function('NAME_leave', leave)
redis.register_function('NAME_forget', forget)
