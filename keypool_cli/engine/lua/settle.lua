-- settle: close leases with what upstream said; release: close them unused.
--
-- settle ARGV 2  {days, items}
--         item {lease id, client (0 none), tokens (-1: the reservation), success, mark, answer}
--         mark {} or {kind, until, base, cap, jitter}: see apply_mark
--         answer  the caller's bytes, kept and repeated
-- answers {now, outcomes}
--         outcome {'settled', tokens, applied, until, answer, project, key, granted_at, first, first_tokens}
--                   first: false when an earlier settle had won, and the rest is its outcome
--               | {'released'} | {'missing'}
-- release ARGV 2  {days, client, lease ids}   answers {now, {'released' | 'settled' | 'missing', …}}

-- What a refusal does to a project on this model; answers whether it applied and until when.
--   cool: until `until`, or base * 2^failures ms, at most cap, with full jitter, when that is 0
--   wide: the same for the whole project or its billing account
--   exclude, disable: until a reset or a repair; drop_key: the key is not picked again
local function drop_key(state, dropped)
  local keys = numbers_at(state.tail, 1, state.key_count, 'I4')
  local kept = {}
  for _, id in ipairs(keys) do
    if id ~= dropped then kept[#kept + 1] = struct.pack('<I4', id) end
  end
  state.tail = table.concat(kept) .. string.sub(state.tail, 1 + 4 * state.key_count)
  state.key_count = #kept
end

local function cool_time(ctx, state, mark)
  local _, until_at, base, cap, jitter = unpack(mark)
  if until_at > 0 then return until_at end
  local span = min(cap, base * 2 ^ min(state.failures, 20))
  state.failures = min(state.failures + 1, 60000)
  return ctx.now + floor(max(base / 2, span * jitter))
end

local function set_flag(state, flag, on)
  local has = floor(state.flags / flag) % 2 == 1
  if on and not has then state.flags = state.flags + flag end
  if not on and has then state.flags = state.flags - flag end
end

local function apply_mark(ctx, state, mark, granted_at, key_id)
  local kind = mark[1]
  if kind == 'drop_key' then
    drop_key(state, key_id)
  elseif granted_at <= state.reset_at then
    return false, 0
  elseif kind == 'cool' then
    state.cool_until = max(state.cool_until, cool_time(ctx, state, mark))
    return true, state.cool_until
  elseif kind == 'wide' then
    state.wide_until = max(state.wide_until, cool_time(ctx, state, mark))
    return true, state.wide_until
  else
    set_flag(state, kind == 'exclude' and FLAG_EXCLUDED or FLAG_USABLE, kind == 'exclude')
  end
  return true, 0
end

local function told_outcome(lease, first)
  local stored = cmsgpack.unpack(lease.answer)
  return { 'settled', lease.tokens, stored[1], stored[2], stored[3], lease.project, lease.key, lease.granted_at, first }
end

local function settle_lease(ctx, lease, item)
  local _, _, tokens, success, mark, answer = unpack(item)
  local state, client = lease_states(ctx, lease)
  local actual = tokens < 0 and lease.tokens or tokens
  close_lease(ctx, lease, state)
  local applied, until_at = false, 0
  if client then correct(ctx, client, lease.client_seq, 0, actual - lease.tokens) end
  if state then
    correct(ctx, state, lease.seq, 0, actual - lease.tokens)
    if success then state.failures = 0 end
    if #mark > 0 then applied, until_at = apply_mark(ctx, state, mark, lease.granted_at, lease.key) end
    place(ctx, state)
  end
  lease.status, lease.tokens = 's', actual
  lease.answer = cmsgpack.pack({ applied, until_at, answer })
  save_lease(ctx, lease, lease.answer, true)
  return told_outcome(lease, true), state
end

local function settle_item(ctx, item, touched)
  local lease = find_lease(ctx, item[1], item[2])
  if not lease then return { 'missing' } end
  if lease.status == 'r' then return { 'released' } end
  if lease.status == 's' then return told_outcome(lease, false) end
  local outcome, state = settle_lease(ctx, lease, item)
  touched[#touched + 1] = state
  return outcome
end

local function settle(keys, argv)
  local ctx = open(keys, argv)
  local days, items = unpack(ctx.args)
  set_days(ctx, days)
  if not enter(ctx) then return cmsgpack.pack({ ctx.now, false }) end
  local outcomes, touched = {}, {}
  for i, item in ipairs(items) do outcomes[i] = settle_item(ctx, item, touched) end
  serve_pools_of(ctx, touched)
  commit(ctx)
  return cmsgpack.pack({ ctx.now, outcomes })
end

local function release_one(ctx, lease_id, client, touched)
  local bytes = redis.call('HGET', key(ctx, 'waiter'), lease_id)
  if bytes then
    local waiter = read_waiter(bytes)
    if waiter.client ~= client then return 'missing' end
    touched[#touched + 1] = leave_queue(ctx, waiter)
    return 'released'
  end
  local lease = find_lease(ctx, lease_id, client)
  if not lease then return 'missing' end
  if lease.status == 's' then return 'settled' end
  if lease.status ~= 'r' then touched[#touched + 1] = give_back(ctx, lease) end
  return 'released'
end

local function release(keys, argv)
  local ctx = open(keys, argv)
  local days, client, lease_ids = unpack(ctx.args)
  set_days(ctx, days)
  if not enter(ctx) then return cmsgpack.pack({ ctx.now, false }) end
  local outcomes, touched = {}, {}
  for i, lease_id in ipairs(lease_ids) do outcomes[i] = release_one(ctx, lease_id, client, touched) end
  serve_pools_of(ctx, touched)
  commit(ctx)
  return cmsgpack.pack({ ctx.now, outcomes })
end

redis.register_function('NAME_settle', settle)
redis.register_function('NAME_release', release)
