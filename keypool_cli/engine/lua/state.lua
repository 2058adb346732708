-- Reading and writing STATE, and the context of one call.

local function numbers_at(bytes, from, count, format)
  if count == 0 then return {} end
  local found = { unpack_bytes('<' .. rep(format, count), bytes, from) }
  found[count + 1] = nil
  return found
end

local function pack_ids(ids)
  local packed = {}
  for i, id in ipairs(ids) do packed[i] = pack_bytes('<I4', id) end
  return table.concat(packed)
end

local function blank(now)
  local state = zeros()
  -- starts at the clock, so that a rebuilt window never reuses an old entry's number
  state.seq, state.touched_at, state.keys, state.pools = now, now, '', {}
  return state
end

-- Changes a field of STANDING, or the pools.
local function set(state, name, value)
  if state[name] ~= value then state[name], state.standing = value, nil end
end

local function keep_for(state, until_at, number)
  set(state, 'held_until', until_at)
  set(state, 'held_by', number)
end

-- Records of one call are used again by the next: a table of so many fields is dear to make, and
-- mostly the next project's STANDING is the one it has.
local used, spare = 0, {}

local function parse_state(bytes)
  used = used + 1
  local state = spare[used]
  if not state then
    state = zeros()
    if used <= MOST_SPARE then spare[used] = state end
  end
  local from = STATE.refill(bytes, state)
  local keys_at = from + STANDING.size + 4 * state.pool_count
  local standing = sub(bytes, from, keys_at - 1)
  if standing ~= state.standing then
    local pools_at = STANDING.refill(standing, state)
    state.pools, state.standing = numbers_at(standing, pools_at, state.pool_count, 'I4'), standing
  end
  state.keys, state.size = sub(bytes, keys_at), #bytes
  state.advanced, state.dirty, state.is_client = nil, nil, nil
  state.was_score, state.was_blocked_at, state.was_stale_at = state.score, state.blocked_at, state.stale_at
  return state
end

-- as it is stored; whoever asks stores it
local function bytes_of(state)
  if not state.standing then state.standing = STANDING.encode(state) .. pack_ids(state.pools) end
  local bytes = STATE.encode(state) .. state.standing .. state.keys
  state.size = #bytes
  return bytes
end

local function write_state(state)
  local size, bytes = state.size, bytes_of(state)
  if #bytes == size then
    call('SETRANGE', state.key, 0, bytes) -- in its place: a third less than SET
  else
    call('SET', state.key, bytes)
  end
end

-- what the last call read of its arguments, meta and pool: mostly the next one finds the same bytes
local last = {}

-- Context of one call: the clock, the days and the records it has read. The table is the last
-- call's, emptied: a new one of so many fields is dear to make.
local this_call = {}

local function open(keys, argv)
  if not STATE then bind() end
  local ctx = this_call
  used = 0
  local now = tonumber(argv[1])
  if now == 0 then
    local time = call('TIME')
    now = floor(time[1] * 1000 + time[2] / 1000)
  end
  if last.args_bytes ~= argv[2] then last.args_bytes, last.args = argv[2], cmsgpack.unpack(argv[2]) end
  if last.tag ~= keys[1] then last.tag, last.names = keys[1], {} end
  ctx.tag, ctx.names, ctx.now, ctx.args = last.tag, last.names, now, last.args
  ctx.states, ctx.order, ctx.waiting, ctx.landed = {}, {}, 0, 0
  ctx.meta, ctx.opens_at, ctx.sets, ctx.first_at, ctx.ready, ctx.chunk = nil, nil, nil, nil, nil, nil
  ctx.due, ctx.fresh, ctx.tired, ctx.told, ctx.too_large, ctx.tidy, ctx.wake_at = nil, nil, nil, nil, nil, nil, nil
  return ctx
end

-- days: starts of the Pacific days around now, ascending, as the caller's zone database has them
local function set_days(ctx, days)
  ctx.utc_at = ctx.now - ctx.now % DAY_MS
  if ctx.days == days and ctx.day_at <= ctx.now and ctx.now < ctx.day_end then return end
  for i = 2, #days - 1 do
    if days[i] <= ctx.now and ctx.now < days[i + 1] then
      ctx.day_before, ctx.day_at, ctx.day_end = days[i - 1], days[i], days[i + 1]
      ctx.day_after, ctx.days = days[i + 2] or days[i + 1] + DAY_MS, days
      return
    end
  end
  error({ err = 'KPCLOCK this machine and the live store differ by more than a day' })
end

local function read_meta(ctx, bytes)
  if last.meta_bytes ~= bytes then last.meta_bytes, last.meta = bytes, META.decode(bytes) end
  ctx.meta = last.meta
  ctx.window_ms, ctx.guard_ms = ctx.meta.window_ms, ctx.meta.guard_ms
end

local function parse_pool(id, bytes)
  if last.pool_bytes == bytes and last.pool.id == id then return last.pool end
  local pool, from = POOL.decode(bytes)
  pool.id, pool.priorities = id, numbers_at(bytes, from, pool.count, 'i4')
  last.pool_bytes, last.pool = bytes, pool
  return pool
end

-- Reads meta and the number of waiters; answers nil when this model was never loaded, or its state
-- is lost or laid out otherwise, else the pool named, if it is known, or true.
local function enter(ctx, pool_id)
  local meta, waiting, due = key(ctx, 'meta'), key(ctx, 'waiting'), key(ctx, 'due')
  local found = pool_id and call('MGET', meta, waiting, due, key(ctx, 'pool', pool_id)) or call('MGET', meta, waiting, due)
  if not found[1] or unpack_bytes('<I4', found[1]) ~= LAYOUT then return nil end
  read_meta(ctx, found[1])
  ctx.waiting, ctx.opens_at = tonumber(found[2] or 0), tonumber(found[3] or 0)
  if pool_id then return found[4] and parse_pool(pool_id, found[4]) or nil end
  return true
end

local function remember(ctx, id, state, name)
  state.id, state.key = id, name or key(ctx, 'state', id)
  ctx.states[id] = state
  ctx.order[#ctx.order + 1] = state
  return state
end

local function get_state(ctx, id)
  local state = ctx.states[id]
  if state then return state end
  local name = key(ctx, 'state', id)
  local bytes = call('GET', name)
  if not bytes then return nil end
  return remember(ctx, id, parse_state(bytes), name)
end

-- Brings many records in with one command; ids: every step-th of the array is one.
local function get_states(ctx, ids, step)
  if #ids <= step then
    if ids[1] then get_state(ctx, ids[1]) end
    return
  end
  local wanted, names = {}, {}
  for i = 1, #ids, step do
    if not ctx.states[ids[i]] then
      wanted[#wanted + 1], names[#names + 1] = ids[i], key(ctx, 'state', ids[i])
    end
  end
  if #wanted == 0 then return end
  local found = call('MGET', unpack(names))
  for i, id in ipairs(wanted) do
    local bytes = found[i]
    if bytes then remember(ctx, id, parse_state(bytes), names[i]) end
  end
end
