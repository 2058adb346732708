-- STATE: what is known of one project (or client) on this model.
local STATE_FIELDS = {
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
local META_FIELDS = {
  { 'revision', 'I6' },       -- of the registry, when this model was last loaded
  { 'window_ms', 'I6' },      -- minute and guard together
  { 'guard_ms', 'I4' },
  { 'starve_ms', 'I4' },      -- a waiter older than this has a project kept free for it
}
local POOL_FIELDS = {
  { 'policy', 'I1' },         -- 0 spread, 1 pack
  { 'count', 'I2' },          -- priorities of 4 bytes each follow
}
local LEASE_FIELDS = {
  { 'status', 'c1' },         -- o open, x expired, s settled, r released
  { 'project', 'I4' },
  { 'key', 'I4' },
  { 'client', 'I4' },         -- 0: none
  { 'requests', 'I2' },
  { 'tokens', 'I6' },         -- reserved; the settled count once settled
  { 'seq', 'I6' },            -- entry in the project's window
  { 'client_seq', 'I6' },     -- entry in the client's own window; 0: it has none
  { 'granted_at', 'I6' },
  { 'expires_at', 'I6' },
}

-- A codec reads and writes every record of a call, so it is compiled: naming the fields one by one
-- costs a third of a loop over their names.
local function codec(fields)
  local formats, names, values, sets, gets = { '<' }, {}, {}, {}, {}
  for i, field in ipairs(fields) do
    formats[i + 1], names[i], values[i] = field[2], field[1], 'v' .. i
    sets[i], gets[i] = field[1] .. '=v' .. i, 'r.' .. field[1]
  end
  local format = table.concat(formats)
  local decode = 'local unpack, f = ... return function(bytes) local ' .. table.concat(values, ',')
    .. ', next = unpack(f, bytes) return {' .. table.concat(sets, ',') .. '}, next end'
  local encode = 'local pack, f = ... return function(r) return pack(f,' .. table.concat(gets, ',') .. ') end'
  return {
    names = names,
    decode = loadstring(decode)(struct.unpack, format),
    encode = loadstring(encode)(struct.pack, format),
  }
end

local STATE, META, POOL, LEASE

local function bind()
  floor, max, min = math.floor, math.max, math.min
  STATE, META, POOL, LEASE = codec(STATE_FIELDS), codec(META_FIELDS), codec(POOL_FIELDS), codec(LEASE_FIELDS)
end

-- a record by field name, and where the bytes after it begin
local function decode(kind, bytes)
  return kind.decode(bytes)
end

local function encode(kind, record)
  return kind.encode(record)
end

local function numbers_at(bytes, from, count, format)
  if count == 0 then return {} end
  local found = { struct.unpack('<' .. string.rep(format, count), bytes, from) }
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

local function parse_state(bytes)
  local state, from = decode(STATE, bytes)
  state.tail = string.sub(bytes, from)
  state.pools = numbers_at(state.tail, 1 + 4 * state.key_count, state.pool_count, 'I4')
  state.was_score, state.was_blocked_at, state.was_stale_at = state.score, state.blocked_at, state.stale_at
  return state
end

-- Context of one call: the clock, the days and the records it has read.
local function open(keys, argv)
  if not STATE then bind() end
  local ctx = { tag = keys[1], states = {}, order = {}, sets = {}, waiting = 0 }
  ctx.now = tonumber(argv[1])
  if ctx.now == 0 then
    local time = redis.call('TIME')
    ctx.now = time[1] * 1000 + floor(time[2] / 1000)
  end
  ctx.args = cmsgpack.unpack(argv[2])
  return ctx
end

-- days: starts of the Pacific days around now, ascending, as the caller's zone database has them
local function set_days(ctx, days)
  for i = 2, #days - 1 do
    if days[i] <= ctx.now and ctx.now < days[i + 1] then
      ctx.day_before, ctx.day_at, ctx.day_end = days[i - 1], days[i], days[i + 1]
      ctx.day_after = days[i + 2] or days[i + 1] + DAY_MS
      ctx.utc_at = ctx.now - ctx.now % DAY_MS
      return
    end
  end
  error({ err = 'KPCLOCK this machine and the live store differ by more than a day' })
end

-- what the last call read of meta and its pool: mostly the next one finds the same bytes
local last = {}

local function read_meta(ctx, bytes)
  if last.meta_bytes ~= bytes then last.meta_bytes, last.meta = bytes, decode(META, bytes) end
  ctx.meta = last.meta
  ctx.window_ms, ctx.guard_ms = ctx.meta.window_ms, ctx.meta.guard_ms
end

local function parse_pool(id, bytes)
  if last.pool_bytes == bytes and last.pool.id == id then return last.pool end
  local pool, from = decode(POOL, bytes)
  pool.id, pool.priorities = id, numbers_at(bytes, from, pool.count, 'i4')
  last.pool_bytes, last.pool = bytes, pool
  return pool
end

-- Reads meta and the number of waiters; answers nil when this model was never loaded or its state
-- is lost, else the pool named, if it is known, or true.
local function enter(ctx, pool_id)
  local names = { key(ctx, 'meta'), key(ctx, 'waiting'), key(ctx, 'due'), pool_id and key(ctx, 'pool', integer(pool_id)) }
  local found = redis.call('MGET', unpack(names))
  if not found[1] then return nil end
  read_meta(ctx, found[1])
  ctx.waiting, ctx.opens_at = tonumber(found[2] or 0), tonumber(found[3] or 0)
  if pool_id then return found[4] and parse_pool(pool_id, found[4]) or nil end
  return true
end

local function remember(ctx, id, state)
  state.id = id
  ctx.states[id] = state
  ctx.order[#ctx.order + 1] = state
  return state
end

local function get_state(ctx, id)
  local state = ctx.states[id]
  if state then return state end
  local bytes = redis.call('GET', key(ctx, 'state', id))
  if not bytes then return nil end
  return remember(ctx, id, parse_state(bytes))
end

-- brings many records in with one command
local function get_states(ctx, ids)
  local wanted, names = {}, {}
  for _, id in ipairs(ids) do
    if not ctx.states[id] then
      wanted[#wanted + 1], names[#names + 1] = id, key(ctx, 'state', id)
    end
  end
  if #wanted < 2 then
    if wanted[1] then get_state(ctx, wanted[1]) end
    return
  end
  local found = redis.call('MGET', unpack(names))
  for i, id in ipairs(wanted) do
    if found[i] then remember(ctx, id, parse_state(found[i])) end
  end
end
