-- The context of one call: the clock, the days, and what META says.

local open, set_days, enter, set_waiting, set_due

do -- Lua has room for 200 local names in one scope

-- What was made of some bytes before: mostly the next call comes with the same.
local function keeper(make)
  local kept, count = {}, 0
  return function(bytes)
    local found = kept[bytes]
    if not found then
      if count == MOST_KEPT then kept, count = {}, 0 end
      found, count = make(bytes), count + 1
      kept[bytes] = found
    end
    return found
  end
end

local args_of = keeper(function(bytes) return cmsgpack.unpack(bytes) end)
local model_of = keeper(function() return { names = {}, shelves = {}, shelf_from = 0, shelf_end = 0 } end) -- by tag: names of keys, T:meta as last read

-- Context of one call: the clock, the days and the records it has read. The table is the last
-- call's, emptied: a new one of so many fields is dear to make, and so is emptying one that is clean.
local this_call = {}

local function empty(ctx)
  if not ctx.order or ctx.order[1] then ctx.states, ctx.order = {}, {} end
  ctx.landed = 0
  ctx.sets, ctx.first_at, ctx.ready, ctx.chunk, ctx.leases, ctx.closed = nil, nil, nil, nil, nil, nil
  ctx.roomy, ctx.fresh, ctx.tired, ctx.told, ctx.too_large, ctx.tidy, ctx.wake_at = nil, nil, nil, nil, nil, nil, nil
end

-- What is left of T:clock's time to live tells the time in one number, TIME in two texts.
local function clock(ctx)
  local left = call('PTTL', key(ctx, 'clock'))
  if left > 0 then return CLOCK_ENDS - left end
  local time = call('TIME')
  return floor(time[1] * 1000 + time[2] / 1000)
end

function open(keys, argv)
  if not STATE then bind() end
  local ctx = this_call
  used = 0
  if ctx.clean then ctx.clean = false else empty(ctx) end
  ctx.meta, ctx.opens_at, ctx.due, ctx.waiting = nil, nil, nil, 0
  local tag, words = keys[1], argv[2]
  if ctx.tag ~= tag then
    ctx.tag, ctx.model = tag, model_of(tag)
    ctx.names = ctx.model.names
  end
  ctx.now = argv[1] == '0' and clock(ctx) or tonumber(argv[1])
  ctx.args = #words <= MOST_KEPT_BYTES and args_of(words) or cmsgpack.unpack(words)
  return ctx
end

-- days: starts of the Pacific days around now, ascending, as the caller's zone database has them
function set_days(ctx, days)
  local now = ctx.now
  if ctx.days == days and ctx.both_from <= now and now < ctx.both_end then return end
  ctx.utc_at = now - now % DAY_MS
  for i = 2, #days - 1 do
    if days[i] <= now and now < days[i + 1] then
      ctx.day_before, ctx.day_at, ctx.day_end = days[i - 1], days[i], days[i + 1]
      ctx.day_after, ctx.days = days[i + 2] or days[i + 1] + DAY_MS, days
      ctx.both_from, ctx.both_end = max(ctx.day_at, ctx.utc_at), min(ctx.day_end, ctx.utc_at + DAY_MS)
      return
    end
  end
  error({ err = 'KPCLOCK this machine and the live store differ by more than a day' })
end

local function read_pools(bytes)
  local pools, from = {}, 1
  while from <= #bytes do
    local pool, priorities_at = POOL.decode(sub(bytes, from))
    from = from + priorities_at - 1
    pool.priorities = numbers_at(bytes, from, pool.count, 'i4')
    pools[pool.id], from = pool, from + 4 * pool.count
  end
  return pools
end

local function read_meta(model, bytes)
  local meta, pools_at = META.decode(bytes)
  local pools_bytes = sub(bytes, pools_at)
  if model.pools_bytes ~= pools_bytes then model.pools_bytes, model.pools = pools_bytes, read_pools(pools_bytes) end
  model.meta_bytes, model.meta = bytes, meta
end

-- Reads meta; answers nil when this model was never loaded, or its state is lost or laid out
-- otherwise, else the pool named, if it is known, or true.
function enter(ctx, pool_id)
  local model, bytes = ctx.model, call('GET', key(ctx, 'meta'))
  if model.meta_bytes ~= bytes then
    if not bytes or unpack_bytes('<I4', bytes) ~= LAYOUT then
      model.meta_bytes, model.shelves, model.shelf_end = nil, {}, 0
      return nil
    end
    read_meta(model, bytes)
  end
  local meta = model.meta
  ctx.meta, ctx.window_ms, ctx.guard_ms = meta, meta.window_ms, meta.guard_ms
  ctx.waiting, ctx.opens_at = meta.waiting, meta.opens_at
  return not pool_id or model.pools[pool_id]
end

-- Changes fields of meta in place.
local WAITING_AT, OPENS_AT = 4, 8

function set_waiting(ctx, count)
  ctx.waiting = count
  call('SETRANGE', key(ctx, 'meta'), WAITING_AT, pack_bytes('<I4', count))
end

-- Lets acquire pass over T:blocked, unread, until this instant.
function set_due(ctx, at)
  ctx.opens_at = at
  call('SETRANGE', key(ctx, 'meta'), OPENS_AT, pack_bytes('<I6', at))
end

end
