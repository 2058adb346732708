-- settle: close leases with what upstream said; release: close them unused; renew: let them last.
--
-- settle ARGV 2  {days}   3…  items: struct ITEM, struct ENDING, lease id, the caller's answer
-- answers for each item, unless there is but one, 4 bytes that say how long its outcome is, and
--         outcome '1' or '0' + struct LEASE + the caller's answer; '0' when the lease had ended
--                 before, and this is how ('' there is none)
-- release ARGV 2  {days, client, lease ids}   answers {now, {'released' | 'settled' | 'missing', …}}
-- renew  ARGV 2  {ms from now, lease ids}   answers {now, how many are open}

-- after something made room in these projects
local function serve_pools_of(ctx, states)
  if ctx.waiting <= 0 then return end
  commit(ctx)
  for _, state in ipairs(states) do look_again(ctx, state.pools) end
  serve(ctx, {})
end

local apply_mark, set_flag

do -- Lua has room for 200 local names in one scope

-- What a refusal does to a project on this model; answers whether it applied and until when.
--   cool: until `until`, or base * 2^failures ms, at most cap, with full jitter, when that is 0
--   wide: the same for the whole project or its billing account
--   exclude, disable: until a reset or a repair; drop_key: the key is not picked again
local function drop_key(state, dropped)
  local keys = numbers_at(state.keys, 1, state.key_count, 'I4')
  local kept = {}
  for _, id in ipairs(keys) do
    if id ~= dropped then kept[#kept + 1] = pack_bytes('<I4', id) end
  end
  state.keys = table.concat(kept)
  set(state, 'key_count', #kept)
end

local function cool_time(ctx, state, mark)
  local _, until_at, base, cap, jitter = unpack(mark)
  if until_at > 0 then return until_at end
  local span = min(cap, base * 2 ^ min(state.failures, 20))
  set(state, 'failures', min(state.failures + 1, 60000))
  return ctx.now + floor(max(base / 2, span * jitter))
end

function set_flag(state, flag, on)
  local has = floor(state.flags / flag) % 2 == 1
  if on ~= has then set(state, 'flags', state.flags + (on and flag or -flag)) end
end

local MARKS = { 'cool', 'wide', 'exclude', 'disable', 'drop_key' }

function apply_mark(ctx, state, mark, granted_at, key_id)
  local kind = mark[1]
  if kind == 'drop_key' then
    drop_key(state, key_id)
  elseif granted_at <= state.reset_at then
    return false, 0
  elseif kind == 'cool' then
    set(state, 'cool_until', max(state.cool_until, cool_time(ctx, state, mark)))
    return true, state.cool_until
  elseif kind == 'wide' then
    set(state, 'wide_until', max(state.wide_until, cool_time(ctx, state, mark)))
    return true, state.wide_until
  else
    set_flag(state, kind == 'exclude' and FLAG_EXCLUDED or FLAG_USABLE, kind == 'exclude')
  end
  return true, 0
end

local function settle_lease(ctx, lease, item)
  local state, client = lease_states(ctx, lease)
  local actual = item.tokens < 0 and lease.tokens or item.tokens
  close_lease(ctx, lease, state)
  local applied, until_at = false, 0
  if client then correct(ctx, client, lease.client_seq, 0, actual - lease.tokens) end
  if state then
    correct(ctx, state, lease.seq, 0, actual - lease.tokens)
    if item.success == 1 then set(state, 'failures', 0) end
    if item.mark > 0 then
      local mark = { MARKS[item.mark], item.until_at, item.base, item.cap, item.jitter }
      applied, until_at = apply_mark(ctx, state, mark, lease.granted_at, lease.key)
    end
    place(ctx, state)
  end
  lease.status, lease.tokens = 's', actual
  lease.applied, lease.until_at = applied and 1 or 0, until_at
  return save_lease(ctx, lease, item.answer), state
end

local function lease_id_of(bytes)
  local from = ITEM.size + ENDING.size + 1
  return sub(bytes, from, from + unpack_bytes('<I2', bytes, from - 2) - 1)
end

local function read_item(bytes, item)
  local ending_at = ITEM.refill(bytes, item)
  local from = ending_at + ENDING.size
  local ending = sub(bytes, ending_at, from - 1)
  if item.ending ~= ending then ENDING.refill(ending, item) end
  item.ending = ending
  local answer_at = from + item.lease_size
  item.lease_id, item.answer = sub(bytes, from, answer_at - 1), sub(bytes, answer_at)
end

local this_item, lease_before = {}, {} -- their tables are the next ones'

-- The outcome in two pieces, and the project where that may now have room for those who wait.
local function settle_item(ctx, bytes, lease_id)
  local quick = ctx.waiting == 0 and quick_settle(ctx, bytes, lease_id)
  if quick then return '1', quick end
  read_item(bytes, this_item)
  local lease = find_lease(ctx, this_item.lease_id, this_item.client, lease_before)
  if not lease then return '', '' end
  if lease.status == 'r' or lease.status == 's' then return '0', lease.bytes end
  write_gathered(ctx) -- the places of those settled quickly: this one may leave them
  return '1', settle_lease(ctx, lease, this_item)
end

local function settle_items(ctx, argv)
  local outcomes, touched, lease_ids = {}, {}, {}
  for i = 3, #argv do lease_ids[i - 2] = lease_id_of(argv[i]) end
  ctx.sets, ctx.closed = {}, {}
  if lease_ids[1] then read_leases(ctx, lease_ids) end
  for i, lease_id in ipairs(lease_ids) do
    local first, outcome, state = settle_item(ctx, argv[i + 2], lease_id)
    outcomes[2 * i - 1], outcomes[2 * i] = pack_bytes('<I4', #first + #outcome) .. first, outcome
    touched[#touched + 1] = state
  end
  serve_pools_of(ctx, touched)
  commit(ctx)
  return table.concat(outcomes)
end

local function settle_only(ctx, bytes)
  local first, outcome, state = settle_item(ctx, bytes)
  if state then serve_pools_of(ctx, { state }) end
  if ctx.order[1] then commit(ctx) else ctx.clean = true end
  return first .. outcome
end

local function settle_anew(ctx, argv, meta_bytes)
  begin_anew(ctx)
  set_days(ctx, ctx.args[1])
  if not enter(ctx, nil, meta_bytes) then return rep('\0', #argv > 3 and 4 * (#argv - 2) or 0) end
  ctx.usual_meta, ctx.usual_end = ctx.waiting == 0 and meta_bytes, ctx.both_end
  return #argv == 3 and settle_only(ctx, argv[3]) or settle_items(ctx, argv)
end

local function settle(keys, argv)
  local ctx, meta_bytes, is_usual = open_again(keys[1], argv)
  local settled = is_usual and quick_settle(ctx, argv[3])
  return settled and '1' .. settled or settle_anew(ctx, argv, meta_bytes)
end

local function release_one(ctx, lease_id, client, touched)
  local bytes = call('HGET', key(ctx, 'waiter'), lease_id)
  if bytes then
    local waiter = read_waiter(bytes)
    if waiter.client ~= client then return 'missing' end
    leave_queue(ctx, waiter)
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

-- A lease that is over stays so: its slot may be another's already.
local function renew_one(ctx, lease_id, ttl_ms)
  local bytes = read_lease(ctx, lease_id)
  local lease = bytes and LEASE.decode(bytes)
  if not lease or lease.status ~= 'o' or lease.expires_at <= ctx.now then return 0 end
  local was, expires_at, project = lease.expires_at, ctx.now + ttl_ms, lease.name
  if expires_at > was then
    lease.expires_at = expires_at
    move_lease(ctx, lease_id, was, expires_at, LEASE.encode(lease))
    call('ZADD', key(ctx, 'leases'), 'XX', expires_at, open_name(project, lease_id))
    call('ZADD', key(ctx, 'flight', project), 'XX', expires_at, open_name(project, lease_id))
  end
  return 1
end

local function renew(keys, argv)
  local ctx = open(keys, argv)
  local ttl_ms, lease_ids = unpack(ctx.args)
  local count = 0
  for _, lease_id in ipairs(lease_ids) do count = count + renew_one(ctx, lease_id, ttl_ms) end
  return cmsgpack.pack({ ctx.now, count })
end

-- leases: as they are stored.  ARGV 2  {lease ids}   answers an array: each record, '' there is none
local function leases(keys, argv)
  local ctx, found = open(keys, argv), {}
  for i, lease_id in ipairs(ctx.args) do found[i] = read_lease(ctx, lease_id) or '' end
  return found
end

redis.register_function('NAME_leases', leases)
redis.register_function('NAME_settle', settle)
redis.register_function('NAME_renew', renew)
redis.register_function('NAME_release', release)

end
