local FIELDS = {} -- of each record, in its order
-- STATE: what is known of one project (or client) on this model.
FIELDS.state = {
  -- the sliding window
  { 'requests', 'I4' },       -- booked in it
  { 'tokens', 'I6' },         -- booked in it: settled + reserved
  { 'seq', 'I6' },            -- number of its oldest entry
  { 'ring_head', 'I2' },      -- slot of the oldest closed entry
  { 'ring_count', 'I2' },     -- closed entries
  { 'oldest_at', 'I6' },      -- last booking of the oldest closed entry
  { 'open_from', 'I6' },      -- the open entry: first booking,
  { 'open_at', 'I6' },        --   last booking,
  { 'open_requests', 'I4' },  --   requests (0: there is no open entry),
  { 'open_tokens', 'I6' },    --   tokens
  { 'touched_at', 'I6' },     -- last advanced to this instant; time never runs back before it
  -- the days: requests since their start, and those so near the end that they count in the next too
  { 'day_at', 'I6' },         -- start of the Pacific day
  { 'day_requests', 'I4' },
  { 'day_carry', 'I4' },
  { 'utc_at', 'I6' },         -- start of the UTC day
  { 'utc_requests', 'I4' },
  { 'utc_carry', 'I4' },
  { 'emptied_at', 'I6' },     -- the counts hold no booking made at or before it
  -- what refusals and operators did
  { 'cool_until', 'I6' },     -- cooldown of this project and model
  { 'wide_until', 'I6' },     -- cooldown of the whole project or its billing account
  { 'failures', 'I2' },       -- refusals in a row that named no time
  { 'reset_at', 'I6' },       -- answers to calls granted at or before it no longer cool
  -- leases and turns
  { 'in_flight', 'I4' },      -- open leases
  { 'picks', 'I4' },          -- leases ever, modulo 2^32: rotates the keys
  { 'held_until', 'I6' },     -- kept free until then for
  { 'held_by', 'I6' },        --   the waiter with this number
  -- its places in the sorted sets; 0: not in it
  { 'score', 'I7' },
  { 'blocked_at', 'I6' },
  { 'stale_at', 'I6' },
  -- configuration, written by load only
  { 'limit_requests', 'I6' }, -- a minute
  { 'limit_tokens', 'I6' },   -- a minute, input
  { 'limit_day', 'I6' },      -- requests a day
  { 'limit_in_flight', 'I6' },
  { 'ring_slots', 'I2' },
  { 'gap_ms', 'I4' },         -- bookings this close share an entry
  { 'flags', 'I1' },
  { 'priority', 'i4' },
  { 'key_count', 'I2' },      -- ids of 4 bytes each follow: keys,
  { 'pool_count', 'I2' },     --   then pools
}
FIELDS.meta = {
  { 'layout', 'I4' },         -- LAYOUT of whoever sealed it
  { 'revision', 'I6' },       -- of the registry, when this model was last loaded
  { 'window_ms', 'I6' },      -- minute and guard together
  { 'guard_ms', 'I4' },
  { 'starve_ms', 'I4' },      -- a waiter older than this has a project kept free for it
}
FIELDS.pool = {
  { 'policy', 'I1' },         -- 0 spread, 1 pack
  { 'count', 'I2' },          -- priorities of 4 bytes each follow
}
FIELDS.lease = {
  { 'status', 'c1' },         -- o open, x expired, s settled, r released
  { 'project', 'I4' },
  { 'key', 'I4' },
  { 'client', 'I4' },         -- 0: none
  { 'requests', 'I2' },
  { 'tokens', 'i8' },         -- reserved; the settled count once settled
  { 'seq', 'i8' },            -- entry in the project's window
  { 'client_seq', 'i8' },     -- entry in the client's own window; 0: it has none
  { 'granted_at', 'i8' },
  { 'expires_at', 'i8' },
  { 'applied', 'I1' },        -- once settled: 1 when its mark took effect
  { 'until_at', 'i8' },       --   and until when, 0: none
}
-- What calls carry and answer, besides.
FIELDS.demand = {
  { 'requests', 'I2' },
  { 'tokens', 'i8' },
  { 'ttl_ms', 'I4' },
  { 'client', 'I4' },         -- 0: none
  { 'client_rpm', 'i8' },     -- -1: none
  { 'client_tpm', 'i8' },
  { 'deadline', 'i8' },       -- 0: it does not wait
  { 'lease_size', 'I2' },     -- then the lease id,
  { 'affinity_size', 'I1' },  --   the project preferred ('': none),
  { 'daemon_size', 'I1' },    --   the daemon that waits,
  { 'avoid_size', 'I2' },     --   and the projects it must not get: ',1,2,' ('': none)
}
FIELDS.waiter = {
  { 'number', 'i8' },
  { 'since', 'i8' },
  { 'pool', 'I4' },
  { 'held_size', 'I1' },      -- then the project kept free for it ('': none) and its demand
}
FIELDS.result = {
  { 'kind', 'I1' },           -- 1 granted, 0 refused, 2 it waits
  { 'project', 'I4' },        -- refused: the one that frees first, 0: none
  { 'key', 'I4' },
  { 'at', 'i8' },             -- granted at; refused: when to ask again, 0: never, -1: at once
  { 'expires_at', 'i8' },
}                             -- then the lease id; refused: the limit
FIELDS.item = {
  { 'client', 'I4' },         -- 0: none
  { 'tokens', 'i8' },         -- -1: the reservation
  { 'success', 'I1' },
  { 'mark', 'I1' },           -- index into MARKS, 0: none
  { 'until_at', 'i8' },       -- of the mark, see apply_mark
  { 'base', 'i8' },
  { 'cap', 'i8' },
  { 'jitter', 'd' },
  { 'lease_size', 'I2' },     -- then the lease id and the caller's answer, kept and repeated
}

-- A codec reads and writes every record of a call, so it is compiled: naming the fields one by one
-- costs a third of a loop over their names.
local function codec(fields)
  local formats, names, values, sets, gets = { '<' }, {}, {}, {}, {}
  for i, field in ipairs(fields) do
    formats[i + 1], names[i], values[i] = field[2], field[1], 'v' .. i
    sets[i], gets[i] = field[1] .. '=v' .. i, 'r.' .. field[1]
  end
  local layout, given, got = table.concat(formats), table.concat(values, ','), table.concat(gets, ',')
  local decode = 'local unpack, f = ... return function(bytes) local ' .. given
    .. ', next = unpack(f, bytes) return {' .. table.concat(sets, ',') .. '}, next end'
  local refill = 'local unpack, f = ... return function(bytes, r) local next ' .. got
    .. ', next = unpack(f, bytes) return next end'
  local encode = 'local pack, f = ... return function(r) return pack(f,' .. got .. ') end'
  return {
    names = names, layout = layout,
    -- a record by field name, and where the bytes after it begin
    decode = loadstring(decode)(struct.unpack, layout),
    -- the same into a table that was one before
    refill = loadstring(refill)(struct.unpack, layout),
    encode = loadstring(encode)(struct.pack, layout),
  }
end

local STATE, META, POOL, LEASE, DEMAND, WAITER, RESULT, ITEM

-- Where a record says that its project was used or is held back, from one field to another; all
-- zero otherwise.
local SIGNS = {
  { 'requests', 'requests' }, { 'day_requests', 'day_requests' }, { 'utc_requests', 'utc_requests' },
  { 'cool_until', 'failures' }, { 'in_flight', 'in_flight' },
}
local signs

local function find_signs()
  local at, from, to = 1, {}, {}
  for _, field in ipairs(FIELDS.state) do
    local size = struct.size('<' .. field[2])
    from[field[1]], to[field[1]] = at, at + size - 1
    at = at + size
  end
  signs = {}
  for i, sign in ipairs(SIGNS) do
    local first, last_byte = from[sign[1]], to[sign[2]]
    signs[i] = { first, last_byte, rep('\0', last_byte - first + 1) }
  end
end

local function is_idle(bytes)
  for _, sign in ipairs(signs) do
    if sub(bytes, sign[1], sign[2]) ~= sign[3] then return false end
  end
  return true
end

local function bind()
  call, floor, max, min = redis.call, math.floor, math.max, math.min
  format, sub, rep, find = string.format, string.sub, string.rep, string.find
  pack_bytes, unpack_bytes = struct.pack, struct.unpack
  STATE, META, POOL, LEASE = codec(FIELDS.state), codec(FIELDS.meta), codec(FIELDS.pool), codec(FIELDS.lease)
  DEMAND, WAITER, RESULT, ITEM = codec(FIELDS.demand), codec(FIELDS.waiter), codec(FIELDS.result), codec(FIELDS.item)
  find_signs()
end

local function numbers_at(bytes, from, count, format)
  if count == 0 then return {} end
  local found = { unpack_bytes('<' .. rep(format, count), bytes, from) }
  found[count + 1] = nil
  return found
end

local function blank(now)
  local state = {}
  for _, name in ipairs(STATE.names) do state[name] = 0 end
  -- starts at the clock, so that a rebuilt window never reuses an old entry's number
  state.seq, state.touched_at, state.tail, state.pools = now, now, '', {}
  return state
end

-- Records of one call are used again by the next: a table of so many fields is dear to make.
local used, spare = 0, {}

local function read_record(bytes)
  used = used + 1
  local state = spare[used]
  if state then return state, STATE.refill(bytes, state) end
  local from
  state, from = STATE.decode(bytes)
  if used <= MOST_SPARE then spare[used] = state end
  return state, from
end

-- the pools at a record's end: few lists are told apart, so each is read once
local lists, list_count = {}, 0

local function pools_in(tail, key_count, pool_count)
  local bytes = sub(tail, 1 + 4 * key_count)
  local pools = lists[bytes]
  if not pools then
    if list_count >= MOST_LISTS then lists, list_count = {}, 0 end
    pools = numbers_at(bytes, 1, pool_count, 'I4')
    lists[bytes], list_count = pools, list_count + 1
  end
  return pools
end

local function parse_state(bytes)
  local state, from = read_record(bytes)
  state.advanced, state.dirty, state.is_client = nil, nil, nil
  state.tail = sub(bytes, from)
  state.pools = pools_in(state.tail, state.key_count, state.pool_count)
  state.was_score, state.was_blocked_at, state.was_stale_at = state.score, state.blocked_at, state.stale_at
  return state
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
  ctx.states, ctx.order, ctx.waiting = {}, {}, 0
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
