-- Reading and writing STATE.

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

-- Changes a field of STANDING, or the pools.
local function set(state, name, value)
  if state[name] ~= value then state[name], state.standing = value, nil end
end

local function blank(now)
  local state = zeros()
  -- starts at the clock, so that a rebuilt window never reuses an old entry's number
  state.seq, state.touched_at, state.keys, state.pools, state.tail = now, now, '', {}, rep('\0', TAIL_BYTES)
  set(state, 'day_others', NO_DAYS)
  set(state, 'utc_others', NO_DAYS)
  return state
end

local function keep_for(state, until_at, number)
  set(state, 'held_until', until_at)
  set(state, 'held_by', number)
end

-- of STANDING, which begins there, and the ids of pools behind it
local function standing_size(bytes, from)
  return STANDING.size + 4 * unpack_bytes('<I2', bytes, from)
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
  local tail_at = STATE.refill(bytes, state)
  local from, standing = tail_at + TAIL_BYTES, state.standing
  state.tail = sub(bytes, tail_at, from - 1)
  if not standing or sub(bytes, from, from + #standing - 1) ~= standing then
    standing = sub(bytes, from, from + standing_size(bytes, from) - 1)
    local pools_at = STANDING.refill(standing, state)
    state.pools, state.standing = numbers_at(standing, pools_at, state.pool_count, 'I4'), standing
  end
  state.keys, state.size = sub(bytes, from + #standing), #bytes
  state.advanced, state.dirty, state.is_client = nil, nil, nil
  state.was_score, state.was_blocked_at, state.was_stale_at = state.score, state.blocked_at, state.stale_at
  return state
end

-- as it is stored; whoever asks stores it
local function bytes_of(state)
  if not state.standing then state.standing = STANDING.encode(state) .. pack_ids(state.pools) end
  local bytes = STATE.encode(state) .. state.tail .. state.standing .. state.keys
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
