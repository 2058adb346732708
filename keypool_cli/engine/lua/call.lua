-- The context of one call: the clock, the days, and what META says.

local open, open_again, begin_anew, go_on, set_days, enter, set_waiting, set_due

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
local last_tag, last_model

-- by tag: names of keys, T:meta as last read, contexts by the words of calls
local model_of = keeper(function()
  return { names = {}, shelves = {}, shelf_from = 0, shelf_end = 0, contexts = {}, kept = 0 }
end)

-- Context of one call: the clock, the days and the records it has read. The table is the last
-- call's, emptied: a new one of so many fields is dear to make, and so is emptying one that is clean.
local this_call = {}

local function empty(ctx)
  if not ctx.order or ctx.order[1] then ctx.states, ctx.order = {}, {} end
  ctx.landed = 0
  ctx.sets, ctx.first_at, ctx.ready, ctx.chunk, ctx.leases, ctx.closed = nil, nil, nil, nil, nil, nil
  ctx.roomy, ctx.fresh, ctx.tired, ctx.told, ctx.too_large, ctx.tidy, ctx.wake_at = nil, nil, nil, nil, nil, nil, nil
end

-- where T:clock does not tell it. told: '0', or what a test says instead
local function other_clock(told)
  if told ~= '0' then return tonumber(told) end
  local time = call('TIME')
  return floor(time[1] * 1000 + time[2] / 1000)
end

-- What is left of T:clock's time to live tells the time in one number, TIME in two texts.
local function read_clock(ctx, told)
  local left = told == '0' and call('PTTL', ctx.clock_key) or 0
  ctx.now = left > 0 and CLOCK_ENDS - left or other_clock(told)
end

-- one at a time for each tag, whoever asks
local function use_model(tag)
  if not STATE then bind() end
  last_tag, last_model = tag, model_of(tag)
end

local function set_model(ctx)
  ctx.tag, ctx.model, ctx.names = last_tag, last_model, last_model.names
  ctx.clock_key, ctx.meta_key = key(ctx, 'clock'), key(ctx, 'meta')
  ctx.leases_key, ctx.state_prefix = key(ctx, 'leases'), key(ctx, 'state', '')
end

-- Forgets what the call before has left, and what it expected of this one.
function begin_anew(ctx)
  used = 0
  if ctx.clean then ctx.clean = false else empty(ctx) end
  ctx.meta, ctx.opens_at, ctx.due, ctx.waiting, ctx.usual_meta = nil, nil, nil, 0, nil
end

function open(keys, argv)
  local ctx, words = this_call, argv[2]
  if keys[1] ~= last_tag then use_model(keys[1]) end
  if ctx.model ~= last_model then set_model(ctx) end
  begin_anew(ctx)
  read_clock(ctx, argv[1])
  ctx.args = #words <= MOST_KEPT_BYTES and args_of(words) or cmsgpack.unpack(words)
  return ctx
end

local function new_context(words)
  local ctx, model = { args = cmsgpack.unpack(words) }, last_model
  set_model(ctx)
  if #words > MOST_KEPT_BYTES then return ctx end
  if model.kept == MOST_KEPT then model.contexts, model.kept = {}, 0 end
  model.contexts[words], model.kept = ctx, model.kept + 1
  return ctx
end

-- The same for acquire and settle, which have a context for each model and words, since mostly the
-- next call comes with the same. Answers T:meta, too, and whether a call with one record may go on
-- where the last one has left off: it found all usual, T:meta has not changed, and nothing is due.
-- Else it begins anew. (That a clock was set back before that call's day shows in the records.)
function open_again(tag, argv)
  local words, told = argv[2], argv[1]
  if tag ~= last_tag then use_model(tag) end
  local ctx = last_model.contexts[words] or new_context(words)
  local left = told == '0' and call('PTTL', ctx.clock_key) or 0
  local now = left > 0 and CLOCK_ENDS - left or other_clock(told)
  local bytes = call('GET', ctx.meta_key)
  ctx.now = now
  if bytes ~= ctx.usual_meta or now >= ctx.usual_end or #argv ~= 3 then return ctx, bytes, false end
  if not ctx.clean then
    empty(ctx)
    ctx.clean = true
  end
  return ctx, bytes, true
end

-- The long way for what is to be done after the quick one.
function go_on(ctx)
  used, ctx.clean = 0, false
  ctx.waiting, ctx.opens_at = ctx.meta.waiting, ctx.meta.opens_at
end

-- days: starts of the Pacific days around now, ascending, as the caller's zone database has them
function set_days(ctx, days)
  local now = ctx.now
  if ctx.days == days and ctx.both_from <= now and now < ctx.both_end then return end
  ctx.utc_at = now - now % DAY_MS
  for i = 2, #days - 1 do
    if days[i] <= now and now < days[i + 1] then
      ctx.day_at, ctx.day_end = days[i], days[i + 1]
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

-- Reads meta, unless its bytes are given; answers nil when this model was never loaded, or its state
-- is lost or laid out otherwise, else the pool named, if it is known, or true.
function enter(ctx, pool_id, bytes)
  local model = ctx.model
  if bytes == nil then bytes = call('GET', ctx.meta_key) end
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
